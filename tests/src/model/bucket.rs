//! Buckets: `token_bucket`, `gcra` and `leaky_bucket`.
//!
//! A bucket of `burst` units that is full at first and is refilled continuously at `limit / period`.
//! It is known by the instant at which it is full again; until then it owes the time that is left.
//! A unit takes `period / limit` ticks to refill, so instants are counted in parts of a tick, `limit`
//! to a tick: a unit is `period` parts, exactly, and an empty bucket owes `burst × period` of them.
//!
//! - A cost fits if the bucket, with it, owes no more than when it is empty.
//! - A bucket that owes more (the clock stepped back, the limit was lowered) is empty.
//! - As a queue (a `leaky_bucket` asked with a `max_delay`), a call is let out when the bucket owes
//!   nothing of what was there before it, in whole ticks; it also has to be no later than `max_delay`.
//! - A charge gives back the time of its units, at most what is left of it: the time until the
//!   bucket was to be full again after that charge. A place in the queue is only given back if it is
//!   the last one.
//! - A rate of another period starts with the same instant. Under another rate a fraction of a tick
//!   is rounded up, unless both count in the same fractions (`limit / gcd(limit, period)` to a tick).

use core::cmp::Ordering;

use super::key::{Charge, State};
use super::rate::Rate;

/// An instant in parts of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    pub(super) parts: u128,
    pub(super) per_tick: u128,
}

impl Instant {
    /// Which is later.
    fn compare(self, other: Self) -> Ordering {
        (self.parts * other.per_tick).cmp(&(other.parts * self.per_tick))
    }

    /// The same instant in the parts of another rate, at most one part too early.
    fn in_parts_of(self, rate: &Rate) -> u128 {
        let (whole, rest) = (self.parts / self.per_tick, self.parts % self.per_tick);
        whole * rate.limit + rest * rate.limit / self.per_tick
    }
}

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: Instant,
    /// In how many equal fractions of a tick the rate counts that it was stored with.
    fractions: u128,
}

fn fractions(rate: &Rate) -> u128 {
    let (mut one, mut other) = (rate.limit, rate.period);
    while other > 0 {
        (one, other) = (other, one % other);
    }
    rate.limit / one
}

impl Bucket {
    fn full_at(parts: u128, rate: &Rate) -> Self {
        Self {
            full_at: Instant {
                parts,
                per_tick: rate.limit,
            },
            fractions: fractions(rate),
        }
    }

    /// When it is full under this rate, whatever it owes.
    fn unbounded(&self, rate: &Rate) -> u128 {
        let Instant { parts, per_tick } = self.full_at;
        if self.fractions != fractions(rate) {
            return parts.div_ceil(per_tick) * rate.limit;
        }
        self.full_at.in_parts_of(rate)
    }

    /// What it owes at that instant, in parts.
    fn owes(&self, rate: &Rate, at: u128) -> u128 {
        self.full_at.parts.saturating_sub(at * rate.limit)
    }

    fn empty(rate: &Rate) -> u128 {
        rate.burst * rate.period
    }
}

impl State for Bucket {
    fn unused() -> Self {
        Self {
            full_at: Instant {
                parts: 0,
                per_tick: 1,
            },
            fractions: 1,
        }
    }

    fn seen(&self, rate: &Rate, now: u128) -> Self {
        let latest = now * rate.limit + Self::empty(rate);
        Self::full_at(self.unbounded(rate).min(latest), rate)
    }

    fn is_ahead(&self, rate: &Rate, now: u128) -> bool {
        self.unbounded(rate) > now * rate.limit + Self::empty(rate)
    }

    fn capacity(rate: &Rate) -> u128 {
        rate.burst
    }

    fn fits(&self, rate: &Rate, at: u128, cost: u128) -> bool {
        self.owes(rate, at) + cost * rate.period <= Self::empty(rate)
    }

    fn delay(&self, rate: &Rate, at: u128) -> u128 {
        self.owes(rate, at).div_ceil(rate.limit)
    }

    fn is_clear(&self, period: u128, at: u128) -> bool {
        let _ = period;
        self.full_at.parts <= at * self.full_at.per_tick
    }

    fn charged(&self, rate: &Rate, now: u128, cost: u128) -> Self {
        let owes = self.owes(rate, now) + cost * rate.period;
        Self::full_at(now * rate.limit + owes, rate)
    }

    fn refunded(&self, rate: &Rate, now: u128, charge: &Charge, place: usize, units: u128) -> Self {
        let charged_to = charge.full_at[place];
        if charge.queued && self.full_at.compare(charged_to) != Ordering::Equal {
            return *self;
        }
        let owes = self.seen(rate, now).owes(rate, now);
        let start = now * rate.limit;
        let charged_to = charged_to.in_parts_of(rate);
        if owes == 0 || charged_to < start {
            return *self;
        }
        let back = (units * rate.period).min(charged_to - start);
        Self::full_at(start + owes.saturating_sub(back), rate)
    }

    fn compare_use(&self, _: u128, other: &Self, _: u128, _: u128) -> Ordering {
        self.full_at.compare(other.full_at)
    }

    fn carried(&self, _: u128, _: u128, _: u128) -> Self {
        *self
    }

    fn charged_to(&self) -> Option<Instant> {
        Some(self.full_at)
    }
}

/// Where a charge leads of which some units are given back.
pub(super) fn less(charged_to: Instant, rate: &Rate, units: u128) -> Instant {
    let parts = charged_to.in_parts_of(rate);
    Instant {
        parts: parts.saturating_sub(units * rate.period),
        per_tick: rate.limit,
    }
}

/// Where a charge leads to which some units are added: so much later, or than now if it had led to
/// before.
pub(super) fn more(charged_to: Instant, rate: &Rate, now: u128, units: u128) -> Instant {
    let since = charged_to.in_parts_of(rate).max(now * rate.limit);
    Instant {
        parts: since + units * rate.period,
        per_tick: rate.limit,
    }
}
