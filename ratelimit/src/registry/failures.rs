//! Says what goes wrong at run time, without saying it for every call.

use core::time::Duration;
use std::sync::Mutex;
use std::time::Instant;

/// At most one line in this time.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct FailureLog {
    /// When the last line was written, and how many failures there were since.
    last: Mutex<(Option<Instant>, u64)>,
}

impl FailureLog {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new((None, 0)),
        }
    }

    /// How many failures there were since the last line, this one included, if it is time for the
    /// next one.
    pub(super) fn due(&self) -> Option<u64> {
        // Who finds it locked is counted by nobody, and does not wait.
        let mut last = self.last.try_lock().ok()?;
        last.1 += 1;
        if last.0.is_some_and(|at| at.elapsed() < EVERY) {
            return None;
        }
        let failures = last.1;
        *last = (Some(Instant::now()), 0);
        Some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_said() {
        let log = FailureLog::new();
        assert_eq!(log.due(), Some(1));
        assert_eq!((0..1_000).filter_map(|_| log.due()).count(), 0);
    }
}
