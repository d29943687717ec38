//! `fixed_window`: a count for each window, the windows aligned to the epoch.
//!
//! - Windows are numbered: `now / period`. A cost fits if the count of the window that is now stays
//!   within the limit.
//! - A clock that steps back to an earlier window takes the count along to it.
//! - A charge gives back as long as the window that it was made in is the one that is now.
//! - A rate of another period starts with the count of the window that is now.

use core::cmp::Ordering;

use super::key::{Charge, State};
use super::rate::Rate;

/// The count of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixedWindow {
    window: u128,
    count: u128,
}

impl FixedWindow {
    /// The window that is now.
    fn at(self, period: u128, now: u128) -> Self {
        let window = now / period;
        let count = if self.window >= window { self.count } else { 0 };
        Self { window, count }
    }
}

impl State for FixedWindow {
    fn unused() -> Self {
        Self {
            window: 0,
            count: 0,
        }
    }

    fn seen(&self, rate: &Rate, now: u128) -> Self {
        self.at(rate.period, now)
    }

    fn is_ahead(&self, rate: &Rate, now: u128) -> bool {
        self.count > 0 && self.window > now / rate.period
    }

    fn capacity(rate: &Rate) -> u128 {
        rate.limit
    }

    fn fits(&self, rate: &Rate, at: u128, cost: u128) -> bool {
        self.at(rate.period, at).count + cost <= rate.limit
    }

    fn is_clear(&self, period: u128, at: u128) -> bool {
        self.at(period, at).count == 0
    }

    fn charged(&self, _: &Rate, _: u128, cost: u128) -> Self {
        Self {
            count: self.count + cost,
            ..*self
        }
    }

    fn refunded(&self, rate: &Rate, now: u128, charge: &Charge, _: usize, units: u128) -> Self {
        let mut seen = self.at(rate.period, now);
        if charge.at / rate.period != seen.window {
            return *self;
        }
        seen.count = seen.count.saturating_sub(units);
        seen
    }

    fn compare_use(&self, period: u128, other: &Self, other_period: u128, now: u128) -> Ordering {
        let count = self.at(period, now).count;
        count.cmp(&other.at(other_period, now).count)
    }

    fn carried(&self, from: u128, to: u128, now: u128) -> Self {
        Self {
            window: now / to,
            count: self.at(from, now).count,
        }
    }
}
