//! The fixed window: a count per period, the periods aligned to the epoch of the clock.

use super::{Step, Terms, Verdict, Write};

/// What was admitted in one window.
///
/// The default is a window in which nothing ever was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Which window: how many whole periods lie between the epoch of the clock and its start.
    pub window: u64,
    /// Units admitted in that window.
    pub count: u32,
}

impl State {
    /// The state as seen at `now`; and whether it lay ahead, because the clock stepped back.
    ///
    /// A clock that stepped back moves the window's count to the window that is now: as if no
    /// time had passed.
    pub(super) fn at(self, period: u64, now: u64) -> (Self, bool) {
        let window = now / period;
        let ahead = self.count > 0 && self.window > window;
        let count = if ahead || self.window == window {
            self.count
        } else {
            0
        };
        (Self { window, count }, ahead)
    }

    /// The same count in the windows of another period.
    pub(super) fn carried(self, from: u64, to: u64, now: u64) -> Self {
        Self {
            window: now / to,
            count: self.at(from, now).0.count,
        }
    }

    /// What counts at `now`.
    pub(super) fn used(self, period: u64, now: u64) -> u32 {
        self.at(period, now).0.count
    }

    /// The instant from which the state equals a fresh key's.
    pub fn fresh_at(&self, period: u64) -> u64 {
        if self.count == 0 {
            0
        } else {
            self.window.saturating_add(1).saturating_mul(period)
        }
    }
}

/// Decides `cost` units at `now`. A cost of zero asks and charges nothing.
pub fn step(state: State, terms: &Terms, now: u64, cost: u32) -> Step<State> {
    let (current, ahead) = state.at(terms.period, now);
    let room = terms.limit.saturating_sub(current.count);
    let until_next = terms.period - now % terms.period;
    if cost == 0 || cost <= room {
        let count = current.count + cost;
        let (state, write) = match (cost, ahead) {
            (0, false) => (state, Write::Nothing),
            (0, true) => (current, Write::Repair),
            _ => (State { count, ..current }, Write::Charge),
        };
        let verdict = Verdict {
            allowed: true,
            delay: 0,
            remaining: room - cost,
            retry_after: 0,
            reset_after: if count == 0 { 0 } else { until_next },
        };
        return Step {
            state,
            write,
            verdict,
        };
    }
    let (state, write) = if ahead {
        (current, Write::Repair)
    } else {
        (state, Write::Nothing)
    };
    let verdict = Verdict {
        allowed: false,
        delay: 0,
        remaining: room,
        retry_after: if cost > terms.limit {
            u64::MAX
        } else {
            until_next
        },
        reset_after: if current.count == 0 { 0 } else { until_next },
    };
    Step {
        state,
        write,
        verdict,
    }
}

/// Gives back up to `units` of a charge made at `charged_at`, if its window is still the current
/// one.
pub fn refund(state: State, terms: &Terms, now: u64, charged_at: u64, units: u32) -> State {
    let (current, _) = state.at(terms.period, now);
    if charged_at / terms.period == current.window {
        State {
            count: current.count.saturating_sub(units),
            ..current
        }
    } else {
        state
    }
}
