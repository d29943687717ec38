//! The leaky bucket: the [token bucket](super::bucket)'s arithmetic, read from the other side.
//!
//! The bucket holds `burst` units and leaks at the rate. As a *meter* (no delay allowed) a call
//! that fits passes at once; that is a token bucket. As a *queue* (J. Turner, "New directions in
//! communications", 1986) a call that fits is let out when everything before it has leaked, so
//! that calls come out evenly spaced.

use super::bucket::{self, State};
use super::{Span, Step, Terms};

/// Decides `cost` units at `now`, with a delay of at most `max_delay` ticks; 0 is the meter.
pub fn step(state: State, terms: &Terms, now: u64, cost: u32, max_delay: u64) -> Step<State> {
    let mut step = bucket::step(state, terms, now, cost);
    if max_delay == 0 || cost == 0 {
        return step;
    }
    let delay = state.debt(terms, now).0.ceil();
    if delay <= max_delay {
        if step.verdict.allowed {
            step.verdict.delay = delay;
        }
        return step;
    }
    // Too long a wait: the meter's own wait, if it is longer, or until the queue is short enough.
    let retry_after = step.verdict.retry_after.max(delay - max_delay);
    bucket::denied(state, terms, now, retry_after)
}

/// Gives back a place in the queue, if it is the last one: the calls behind it already know when
/// they leave.
pub fn give_back(state: State, terms: &Terms, now: u64, charged_to: Span, units: u32) -> State {
    if state.full_at == charged_to {
        bucket::refund(state, terms, now, charged_to, units)
    } else {
        state
    }
}
