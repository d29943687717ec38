//! Says what goes wrong at run time, without saying it for every call.

use core::time::Duration;
use std::sync::Mutex;
use std::time::Instant;

/// At most one line in this time.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct FailureLog {
    /// When the last line was written, and how many failures there were since.
    last: Mutex<(Option<Instant>, u64)>,
}

impl FailureLog {
    pub(crate) const fn new() -> Self {
        Self {
            last: Mutex::new((None, 0)),
        }
    }

    /// How many failures there were since the last line, this one included, if it is time for the
    /// next one.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        // Who finds it locked is counted by nobody, and does not wait.
        let mut last = self.last.try_lock().ok()?;
        last.1 += 1;
        if last
            .0
            .is_some_and(|at| now.saturating_duration_since(at) < EVERY)
        {
            return None;
        }
        let failures = last.1;
        *last = (Some(now), 0);
        Some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_said() {
        let log = FailureLog::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(log.due(at(0)), Some(1));
        for call in 0..1_000 {
            assert_eq!(log.due(at(call % 10)), None);
        }
        assert_eq!(log.due(at(10)), Some(1_001));
        assert_eq!(log.due(at(19)), None);
        assert_eq!(log.due(at(20)), Some(2));
    }
}
