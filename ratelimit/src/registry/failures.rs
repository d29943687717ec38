//! Says that a backend failed, without saying it for every call.

use core::time::Duration;
use std::sync::Mutex;
use std::time::Instant;

use ratelimit_core::{Error, OnError};

/// At most one line per backend in this time.
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

    pub(super) fn say(&self, backend: &str, policy: &str, on_error: OnError, error: &Error) {
        // A caller that finds it locked is counted by nobody, and does not wait.
        let Ok(mut last) = self.last.try_lock() else {
            return;
        };
        last.1 += 1;
        if last.0.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        let failures = last.1;
        *last = (Some(Instant::now()), 0);
        tracing::warn!(
            backend,
            policy,
            on_error = on_error.name(),
            failures,
            error = %error,
            "the backend failed"
        );
    }
}
