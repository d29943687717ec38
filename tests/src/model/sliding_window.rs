//! `sliding_window`: a log of what was admitted.
//!
//! - What was admitted at `t` counts in `[t, t + period)`. A cost fits if what counts stays within the
//!   limit, with it.
//! - A clock that steps back moves the whole log back, so that its newest entry is of now.
//! - A charge gives back to what was admitted at the instant of the charge, if the log has it.
//! - A rate of another period starts with the entries that count now.
//! - Whenever something is stored, entries that do not count any more are forgotten.

use core::cmp::Ordering;

use super::key::{Charge, State};
use super::rate::Rate;

/// What was admitted at each instant, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    admitted: Vec<(u128, u128)>,
}

impl Log {
    fn newest(&self) -> u128 {
        self.admitted.last().map_or(0, |(at, _)| *at)
    }

    /// The instant that an entry is seen at. Nothing is before the epoch.
    fn seen_at(&self, at: u128, now: u128) -> u128 {
        at.saturating_sub(self.newest().saturating_sub(now))
    }

    fn counts(&self, at: u128, period: u128, now: u128) -> bool {
        self.seen_at(at, now) + period > now
    }

    fn used(&self, period: u128, now: u128) -> u128 {
        let entries = self.admitted.iter();
        let counting = entries.filter(|(at, _)| self.counts(*at, period, now));
        counting.map(|(_, cost)| cost).sum()
    }
}

impl State for Log {
    fn unused() -> Self {
        let admitted = Vec::new();
        Self { admitted }
    }

    fn seen(&self, rate: &Rate, now: u128) -> Self {
        let entries = self.admitted.iter();
        let counting = entries.filter(|(at, _)| self.counts(*at, rate.period, now));
        let admitted = counting.map(|(at, cost)| (self.seen_at(*at, now), *cost));
        Self {
            admitted: admitted.collect(),
        }
    }

    fn is_ahead(&self, _: &Rate, now: u128) -> bool {
        self.newest() > now
    }

    fn capacity(rate: &Rate) -> u128 {
        rate.limit
    }

    fn fits(&self, rate: &Rate, at: u128, cost: u128) -> bool {
        self.used(rate.period, at) + cost <= rate.limit
    }

    fn is_clear(&self, period: u128, at: u128) -> bool {
        self.used(period, at) == 0
    }

    fn charged(&self, _: &Rate, now: u128, cost: u128) -> Self {
        let mut admitted = self.admitted.clone();
        match admitted.last_mut() {
            Some((at, sum)) if *at == now => *sum += cost,
            _ => admitted.push((now, cost)),
        }
        Self { admitted }
    }

    fn refunded(&self, _: &Rate, _: u128, charge: &Charge, _: usize, units: u128) -> Self {
        let mut admitted = self.admitted.clone();
        if let Some((_, cost)) = admitted.iter_mut().find(|(at, _)| *at == charge.at) {
            *cost = cost.saturating_sub(units);
        }
        admitted.retain(|(_, cost)| *cost > 0);
        Self { admitted }
    }

    fn compare_use(&self, period: u128, other: &Self, other_period: u128, now: u128) -> Ordering {
        self.used(period, now).cmp(&other.used(other_period, now))
    }

    fn carried(&self, from: u128, _: u128, now: u128) -> Self {
        let entries = self.admitted.iter().copied();
        let counting = entries.filter(|(at, _)| self.counts(*at, from, now));
        Self {
            admitted: counting.collect(),
        }
    }
}
