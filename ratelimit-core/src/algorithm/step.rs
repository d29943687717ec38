//! What a step answers, whatever the algorithm.

use core::time::Duration;

use crate::decision::Outcome;

/// What a step wants its caller to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing: the stored state stands.
    Nothing,
    /// The new state, because the call was admitted.
    Charge,
    /// The new state, although nothing was charged: the stored one lay further ahead than its
    /// policy could ever put it (the clock stepped back, or the limit was lowered).
    Repair,
}

/// One rate's answer, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the cost fits.
    pub allowed: bool,
    /// How long an admitted call has to wait; only the leaky bucket makes calls wait.
    pub delay: u64,
    /// What could still be spent at this instant, after this call.
    pub remaining: u32,
    /// How long until the same call would be admitted, if nothing else is; 0 when it was.
    /// [`u64::MAX`] when it never can be.
    pub retry_after: u64,
    /// How long until the state equals a fresh key's, if nothing else is admitted.
    pub reset_after: u64,
}

impl Verdict {
    #[inline]
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.allowed, self.delay) {
            (false, _) => Outcome::Denied,
            (true, 0) => Outcome::Allowed,
            (true, delay) => Outcome::AllowedAfter(Duration::from_nanos(delay)),
        }
    }
}

/// A verdict with the state to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<S> {
    /// The state after the step.
    pub state: S,
    /// Whether, and why, to store it.
    pub write: Write,
    /// The answer.
    pub verdict: Verdict,
}
