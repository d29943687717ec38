//! `leaky-bucket`: without keys; asked without waiting.

use leaky_bucket::RateLimiter;

use super::Contender;
use crate::quota::Quota;

/// One limiter, full at first.
pub struct LeakyBucket(RateLimiter);

impl Contender<()> for LeakyBucket {
    fn new(quota: Quota, _: usize) -> Self {
        let burst = quota.burst() as usize;
        Self(
            RateLimiter::builder()
                .initial(burst)
                .max(burst)
                .refill(1)
                .interval(quota.one_per())
                .build(),
        )
    }

    #[inline]
    fn is_allowed(&self, (): &()) -> bool {
        self.0.try_acquire(1)
    }
}
