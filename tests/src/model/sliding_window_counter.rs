//! `sliding_window_counter`: the count of the window that is now, and that of the window before it,
//! weighted by how much of that one the last period still covers.
//!
//! - `elapsed` ticks into its window, a cost fits if
//!   `previous × (period − elapsed) / period + current + cost` is within the limit.
//! - A clock that steps back within its window changes nothing but the weight. One that steps back to
//!   an earlier window takes both counts along in full, as the count of the window that is then now.
//! - A charge is given back to the window that it was made in, while that is one of the two.
//! - A rate of another period starts with what counts now, rounded up to whole units, in the window
//!   that is now.
//! - A count is at most `u32::MAX`.

use core::cmp::Ordering;

use super::key::{Charge, State};
use super::rate::Rate;

/// The counts of two windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    window: u128,
    previous: u128,
    current: u128,
}

const MOST: u128 = u32::MAX as u128;

impl Counter {
    /// The two windows that matter now.
    fn at(self, period: u128, now: u128) -> Self {
        let window = now / period;
        let (previous, current) = if window < self.window {
            (0, (self.previous + self.current).min(MOST))
        } else if window == self.window {
            (self.previous, self.current)
        } else if window == self.window + 1 {
            (self.current, 0)
        } else {
            (0, 0)
        };
        Self {
            window,
            previous,
            current,
        }
    }

    /// What counts now, times the period.
    fn weighed(self, period: u128, now: u128) -> u128 {
        let seen = self.at(period, now);
        seen.previous * (period - now % period) + seen.current * period
    }

    /// The same in whole units, rounded up.
    fn used(self, period: u128, now: u128) -> u128 {
        self.weighed(period, now).div_ceil(period).min(MOST)
    }
}

impl State for Counter {
    fn unused() -> Self {
        Self {
            window: 0,
            previous: 0,
            current: 0,
        }
    }

    fn seen(&self, rate: &Rate, now: u128) -> Self {
        self.at(rate.period, now)
    }

    fn is_ahead(&self, rate: &Rate, now: u128) -> bool {
        self.previous + self.current > 0 && self.window > now / rate.period
    }

    fn capacity(rate: &Rate) -> u128 {
        rate.limit
    }

    fn fits(&self, rate: &Rate, at: u128, cost: u128) -> bool {
        self.weighed(rate.period, at) + cost * rate.period <= rate.limit * rate.period
    }

    fn is_clear(&self, period: u128, at: u128) -> bool {
        self.weighed(period, at) == 0
    }

    fn charged(&self, _: &Rate, _: u128, cost: u128) -> Self {
        Self {
            current: self.current + cost,
            ..*self
        }
    }

    fn refunded(&self, rate: &Rate, now: u128, charge: &Charge, _: usize, units: u128) -> Self {
        let mut seen = self.at(rate.period, now);
        let charged_in = charge.at / rate.period;
        if charged_in == seen.window {
            seen.current = seen.current.saturating_sub(units);
        } else if charged_in + 1 == seen.window {
            seen.previous = seen.previous.saturating_sub(units);
        } else {
            return *self;
        }
        seen
    }

    fn compare_use(&self, period: u128, other: &Self, other_period: u128, now: u128) -> Ordering {
        self.used(period, now).cmp(&other.used(other_period, now))
    }

    fn carried(&self, from: u128, to: u128, now: u128) -> Self {
        Self {
            window: now / to,
            previous: 0,
            current: self.used(from, now),
        }
    }
}
