//! [`Checked`]: an answer without its charge.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::decision::Decision;
use crate::quota::PackedQuota;

/// What most callers look at of a [`Decision`]: whether the call may run, and what its rates say.
/// It is copied, and costs nothing until it is looked at; it does not say what was charged, so that
/// nothing can be given back by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    allowed: bool,
    quota: PackedQuota,
}

impl Checked {
    /// Of a bucket whose interval is a whole number of nanoseconds.
    #[inline(always)]
    pub(crate) fn of_bucket(
        capacity: u32,
        interval: NonZeroU64,
        (allowed, retry_after, reset_after): (bool, u64, u64),
    ) -> Self {
        let quota = PackedQuota::of_bucket(capacity, interval, retry_after, reset_after);
        Self { allowed, quota }
    }

    #[inline(always)]
    pub(crate) fn quota(self) -> PackedQuota {
        self.quota
    }

    /// Whether the call may run.
    #[inline(always)]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// The limit of the rate that binds, as [`Decision::limit`] says it.
    #[inline]
    pub fn limit(&self) -> u32 {
        self.quota.limit()
    }

    /// What could still be spent at this instant, after this call.
    #[inline]
    pub fn remaining(&self) -> u32 {
        self.quota.remaining()
    }

    /// How long until the same call would be admitted, if nothing else is; zero when it was.
    #[inline]
    pub fn retry_after(&self) -> Duration {
        self.quota.retry_after()
    }

    /// How long until everything is available again, if nothing else is admitted.
    #[inline]
    pub fn reset_after(&self) -> Duration {
        self.quota.reset_after()
    }
}

impl From<&Decision> for Checked {
    fn from(decision: &Decision) -> Self {
        Self {
            allowed: decision.is_allowed(),
            quota: PackedQuota::from(crate::Quota::new(
                decision.limit(),
                decision.remaining(),
                decision.retry_after(),
                decision.reset_after(),
            )),
        }
    }
}
