//! [`Options`]: what the builders of all stores have in common.

use core::time::Duration;

use ratelimit_core::{Answers, Error, ErrorKind};

use crate::batcher::Bounds;

/// How long things may take, and how many of them there may be.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// A decision, connecting and waiting for others included.
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    /// How long no attempt to connect is made after one that failed: at first, and at last.
    pub(crate) back_off: (Duration, Duration),
    pub(crate) connections: usize,
    /// Merged calls that are under way at once.
    pub(crate) in_flight: usize,
    /// Checks of different callers in one call.
    pub(crate) max_batch: usize,
    /// Checks that wait.
    pub(crate) max_waiting: usize,
    pub(crate) max_log: u32,
}

impl Options {
    /// Says what cannot be.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (name, time) in [
            ("timeout", self.timeout),
            ("connect_timeout", self.connect_timeout),
        ] {
            if time.is_zero() {
                let message = format!("a {name} of zero leaves no time for an answer");
                return Err(wrong(message));
            }
        }
        for (name, count) in [
            ("connections", self.connections),
            ("in_flight", self.in_flight),
            ("max_batch", self.max_batch),
            ("max_waiting", self.max_waiting),
        ] {
            if count == 0 {
                return Err(wrong(format!("{name} is 0, and has to be 1 or more")));
            }
        }
        let (shortest, longest) = self.back_off;
        if shortest > longest {
            return Err(wrong(format!(
                "the back-off goes from {shortest:?} to {longest:?}, and has to go upwards"
            )));
        }
        Ok(())
    }

    /// Those of the batcher; one caller has no more checks in a call than `largest`.
    pub(crate) fn bounds(&self, largest: usize) -> Bounds {
        Bounds {
            in_flight: self.in_flight,
            merged: self.max_batch,
            largest,
            waiting: self.max_waiting,
        }
    }

    /// How long it may take to connect, and to try all that will be done.
    pub(crate) fn start_up(&self) -> Duration {
        let calls = self.timeout.saturating_mul(10);
        calls.saturating_add(self.connect_timeout)
    }
}

/// An option that cannot be.
pub(crate) fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message.into())
}

/// An answer for each, also where there is none for all of them.
pub(crate) fn each<T>(asked: &[T], answers: Result<Answers, Error>) -> Answers {
    answers.unwrap_or_else(|error| asked.iter().map(|_| Err(error.clone())).collect())
}
