//! The sliding window counter: the current window's count, plus the previous window's weighted by
//! how much of it one period still overlaps.
//!
//! It assumes that the previous window was used evenly; where it was not, what is admitted within
//! one period can differ from the limit. (The method is the one that Cloudflare described in "How
//! we built rate limiting capable of scaling to millions of domains", 2017.) The weighted sum is
//! compared exactly, in 128-bit integers: `previous × (period − elapsed) + current × period`
//! against `limit × period`.

use super::{Step, Terms, Verdict, Write};

/// What was admitted in two windows that follow each other.
///
/// The default is a key that was never used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Which window is the current one: how many whole periods lie between the epoch of the clock
    /// and its start.
    pub window: u64,
    /// Units admitted in the window before.
    pub previous: u32,
    /// Units admitted in the current window.
    pub current: u32,
}

impl State {
    /// The state as seen at `now`; and whether it lay ahead, because the clock stepped back.
    ///
    /// A clock that stepped back to another window takes both counts along, in full, as the count
    /// of the window that is now. (Moving them as they are would not do: further into its window
    /// than before, the previous one would weigh less.)
    pub(super) fn at(self, period: u64, now: u64) -> (Self, bool) {
        let window = now / period;
        let ahead = self.window > window && (self.current > 0 || self.previous > 0);
        let (previous, current) = if ahead {
            (0, self.previous.saturating_add(self.current))
        } else {
            match window.saturating_sub(self.window) {
                0 => (self.previous, self.current),
                1 => (self.current, 0),
                _ => (0, 0),
            }
        };
        let state = Self {
            window,
            previous,
            current,
        };
        (state, ahead)
    }

    /// What counts so far into the current window, times the period.
    fn weighed(self, period: u64, elapsed: u64) -> u128 {
        u128::from(self.previous) * u128::from(period - elapsed)
            + u128::from(self.current) * u128::from(period)
    }

    /// What counts at `now`, in whole units, rounded up.
    pub(super) fn used(self, period: u64, now: u64) -> u32 {
        let weighed = self.at(period, now).0.weighed(period, now % period);
        u32::try_from(weighed.div_ceil(u128::from(period))).unwrap_or(u32::MAX)
    }

    /// What counts at `now`, in the windows of another period.
    pub(super) fn carried(self, from: u64, to: u64, now: u64) -> Self {
        Self {
            window: now / to,
            previous: 0,
            current: self.used(from, now),
        }
    }

    /// The instant from which the state equals a fresh key's.
    pub fn fresh_at(&self, period: u64) -> u64 {
        let windows = match (self.current, self.previous) {
            (0, 0) => return 0,
            (0, _) => 1,
            _ => 2,
        };
        self.window.saturating_add(windows).saturating_mul(period)
    }
}

/// Decides `cost` units at `now`. A cost of zero asks and charges nothing.
pub fn step(state: State, terms: &Terms, now: u64, cost: u32) -> Step<State> {
    let (seen, ahead) = state.at(terms.period, now);
    let elapsed = now % terms.period;
    let room = room(terms, seen, elapsed);
    if cost == 0 || cost <= room {
        let charged = State {
            current: seen.current + cost,
            ..seen
        };
        let (state, write) = match (cost, ahead) {
            (0, false) => (state, Write::Nothing),
            (0, true) => (seen, Write::Repair),
            _ => (charged, Write::Charge),
        };
        let verdict = Verdict {
            allowed: true,
            delay: 0,
            remaining: room - cost,
            retry_after: 0,
            reset_after: reset_after(terms, charged, elapsed),
        };
        return Step {
            state,
            write,
            verdict,
        };
    }
    let (state, write) = if ahead {
        (seen, Write::Repair)
    } else {
        (state, Write::Nothing)
    };
    let verdict = Verdict {
        allowed: false,
        delay: 0,
        remaining: room,
        retry_after: retry_after(terms, seen, elapsed, cost),
        reset_after: reset_after(terms, seen, elapsed),
    };
    Step {
        state,
        write,
        verdict,
    }
}

/// The most units that fit now.
fn room(terms: &Terms, seen: State, elapsed: u64) -> u32 {
    let period = u128::from(terms.period);
    let used = seen.weighed(terms.period, elapsed);
    let room = (u128::from(terms.limit) * period).saturating_sub(used) / period;
    u32::try_from(room).unwrap_or(u32::MAX)
}

fn retry_after(terms: &Terms, seen: State, elapsed: u64, cost: u32) -> u64 {
    let Some(room) = terms.limit.checked_sub(cost) else {
        return u64::MAX;
    };
    if let Some(room) = room.checked_sub(seen.current) {
        // Later in this window, when the previous one weighs little enough. It is the previous
        // window that is in the way, so it is not empty.
        return when_weighs(terms, seen.previous, room).saturating_sub(elapsed);
    }
    // Only in the next window, when this one weighs little enough.
    let until_next = terms.period - elapsed;
    until_next.saturating_add(when_weighs(terms, seen.current, room))
}

/// How far into a window the one before it, with `count` units, weighs at most `room`: the least
/// `e` with `count × (period − e) <= room × period`.
fn when_weighs(terms: &Terms, count: u32, room: u32) -> u64 {
    if count == 0 {
        return 0;
    }
    let overlap = u128::from(room) * u128::from(terms.period) / u128::from(count);
    terms
        .period
        .saturating_sub(u64::try_from(overlap).unwrap_or(u64::MAX))
}

fn reset_after(terms: &Terms, seen: State, elapsed: u64) -> u64 {
    if seen.current > 0 {
        (terms.period - elapsed).saturating_add(terms.period)
    } else if seen.previous > 0 {
        terms.period - elapsed
    } else {
        0
    }
}

/// Gives back up to `units` of a charge made at `charged_at`, from the window that it counts in,
/// if that is still one of the two.
pub fn refund(state: State, terms: &Terms, now: u64, charged_at: u64, units: u32) -> State {
    let (mut seen, _) = state.at(terms.period, now);
    match seen.window.checked_sub(charged_at / terms.period) {
        Some(0) => seen.current = seen.current.saturating_sub(units),
        Some(1) => seen.previous = seen.previous.saturating_sub(units),
        _ => return state,
    }
    seen
}
