//! [`Options`]: what the builders of all stores have in common.

use core::time::Duration;

use ratelimit_core::{Answers, Error};

use crate::batcher::Bounds;
use crate::checks::{lasts, some, upwards};

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
        lasts("timeout", self.timeout)?;
        lasts("connect_timeout", self.connect_timeout)?;
        some("connections", self.connections)?;
        some("in_flight", self.in_flight)?;
        some("max_batch", self.max_batch)?;
        some("max_waiting", self.max_waiting)?;
        upwards(self.back_off)
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

/// An answer for each, also where there is none for all of them.
pub(crate) fn each<T>(asked: &[T], answers: Result<Answers, Error>) -> Answers {
    answers.unwrap_or_else(|error| asked.iter().map(|_| Err(error.clone())).collect())
}
