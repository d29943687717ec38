//! [`Quota`]: what one rate says.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::algorithm::Verdict;

/// What one rate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// The most that could be spent at once: the bucket's capacity, or the window's limit.
    pub limit: u32,
    /// What could still be spent at this instant, after this call.
    pub remaining: u32,
    /// How long until the same call would be admitted, if nothing else is; zero when it was.
    pub retry_after: Duration,
    /// How long until everything is available again, if nothing else is admitted.
    pub reset_after: Duration,
}

impl Quota {
    /// What one rate says.
    pub fn new(limit: u32, remaining: u32, retry_after: Duration, reset_after: Duration) -> Self {
        Self {
            limit,
            remaining,
            retry_after,
            reset_after,
        }
    }
}

/// A quota with its times in nanoseconds, as decisions are copied a lot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PackedQuota {
    limit: u32,
    remaining: u32,
    retry_after: u64,
    reset_after: u64,
    /// For a bucket of which nobody has worked out yet what remains: how many nanoseconds it takes
    /// for each of the units that are missing until `reset_after`. Few look at it, and the division
    /// takes longer than the rest of a decision.
    interval: Option<NonZeroU64>,
}

impl PackedQuota {
    #[inline]
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    #[inline]
    pub(crate) fn retry_after(&self) -> Duration {
        Duration::from_nanos(self.retry_after)
    }

    #[inline]
    pub(crate) fn reset_after(&self) -> Duration {
        Duration::from_nanos(self.reset_after)
    }

    #[inline]
    pub(crate) fn remaining(&self) -> u32 {
        let Some(interval) = self.interval else {
            return self.remaining;
        };
        let missing = self.reset_after.div_ceil(interval.get());
        u32::try_from(u64::from(self.limit).saturating_sub(missing)).unwrap_or(0)
    }

    #[inline]
    pub(crate) fn new(capacity: u32, verdict: &Verdict) -> Self {
        Self {
            limit: capacity,
            remaining: verdict.remaining,
            interval: None,
            retry_after: verdict.retry_after,
            reset_after: verdict.reset_after,
        }
    }

    /// Of a bucket; what is left is worked out when it is asked for.
    #[inline(always)]
    pub(crate) fn of_bucket(
        capacity: u32,
        interval: NonZeroU64,
        retry_after: u64,
        reset_after: u64,
    ) -> Self {
        Self {
            limit: capacity,
            remaining: 0,
            interval: Some(interval),
            retry_after,
            reset_after,
        }
    }

    /// What it says so many nanoseconds later, if nothing happens until then.
    pub(crate) fn later(self, by: u64) -> Self {
        let reset_after = self.reset_after.saturating_sub(by);
        let remaining = match reset_after {
            0 if self.reset_after > 0 => self.limit,
            _ => self.remaining,
        };
        Self {
            remaining,
            retry_after: self.retry_after.saturating_sub(by),
            reset_after,
            ..self
        }
    }

    pub(crate) fn unpack(self) -> Quota {
        Quota {
            limit: self.limit,
            remaining: self.remaining(),
            retry_after: self.retry_after(),
            reset_after: self.reset_after(),
        }
    }
}

impl PartialEq for PackedQuota {
    fn eq(&self, other: &Self) -> bool {
        self.unpack() == other.unpack()
    }
}

impl Eq for PackedQuota {}

impl From<Quota> for PackedQuota {
    fn from(quota: Quota) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            limit: quota.limit,
            remaining: quota.remaining,
            interval: None,
            retry_after: nanos(quota.retry_after),
            reset_after: nanos(quota.reset_after),
        }
    }
}
