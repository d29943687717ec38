//! The bucket that nearly every policy has, decided in the fewest instructions.

use core::num::NonZeroU64;

use super::{Span, Terms};
use crate::checked::Checked;
use crate::clock::Timestamp;
use crate::decision::{Charge, Decision};

/// The bucket of a rate whose interval is a whole number of nanoseconds, as its state is
/// [packed](super::Packing): worked out once, or for one call.
///
/// It decides what [`bucket::step`](super::bucket::step) decides. What it leaves to that, by
/// answering `None`, is what few calls need: a cost of zero or above the capacity, a state that lies
/// further ahead than it could ever be put, a clock that is before the epoch.
#[derive(Clone, Copy, Debug)]
pub struct WholeBucket {
    epoch: u64,
    interval: NonZeroU64,
    /// The time in which an empty bucket is filled.
    fill: u64,
    burst: u32,
}

/// What a check does to such a bucket.
#[derive(Clone, Copy, Debug)]
pub struct WholeStep {
    /// Admitted; its word is to be stored.
    allowed: bool,
    /// The word after it.
    word: u64,
    /// How long until the bucket is full.
    debt: u64,
    retry_after: u64,
}

impl WholeBucket {
    /// The bucket of these terms, counted from that epoch.
    #[inline(always)]
    pub(super) fn of(terms: &Terms, epoch: u64) -> Option<Self> {
        if terms.q != 1 {
            return None;
        }
        Some(Self {
            epoch,
            interval: NonZeroU64::new(terms.interval.whole)?,
            fill: terms.fill.whole,
            burst: terms.burst,
        })
    }

    /// Decides so many units on a packed state.
    #[inline(always)]
    pub fn step(&self, word: u64, now: Timestamp, cost: u32) -> Option<WholeStep> {
        let now = now.as_nanos().checked_sub(self.epoch)?;
        let debt = word.saturating_sub(now);
        // One unit always fits an empty bucket.
        if debt > self.fill || cost != 1 && (cost == 0 || cost > self.burst) {
            return None;
        }
        // Both are at most what it takes to fill the bucket, which is less than 2⁶² nanoseconds.
        let total = debt + self.interval.get() * u64::from(cost);
        Some(if total <= self.fill {
            WholeStep {
                allowed: true,
                word: now + total,
                debt: total,
                retry_after: 0,
            }
        } else {
            WholeStep {
                allowed: false,
                word,
                debt,
                retry_after: total - self.fill,
            }
        })
    }

    /// The answer to a check of so many units at that instant.
    #[inline(always)]
    pub fn decision(&self, step: &WholeStep, now: Timestamp, cost: u32) -> Decision {
        let full_at = Span {
            whole: self.epoch.wrapping_add(step.word),
            part: 0,
        };
        let cost = if step.allowed { cost } else { 0 };
        let charge = Charge::of_one(now, cost, false, Some(full_at));
        Decision::of_bucket(self.checked(step), charge)
    }

    /// The answer without what was charged.
    #[inline(always)]
    pub fn checked(&self, step: &WholeStep) -> Checked {
        Checked::of_bucket(
            self.burst,
            self.interval,
            (step.allowed, step.retry_after, step.debt),
        )
    }
}

impl WholeStep {
    /// The word to store, if any.
    #[inline(always)]
    pub fn replace(&self) -> Option<u64> {
        self.allowed.then_some(self.word)
    }
}
