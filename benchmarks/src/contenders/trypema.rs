//! `trypema`: the absolute strategy of its local provider. It is a window of buckets, so that its
//! quota is a count per day rather than a burst.

use std::sync::Arc;

use trypema::local::LocalRateLimiterProvider;
use trypema::{BucketSize, RateLimit, RateLimitDecision, RateLimiterBuilder, WindowSize};

use super::Contender;
use crate::quota::Quota;

/// Keyed by text. Its cleaning thread is off, in its favour: no key gets stale here.
pub struct Trypema {
    provider: Arc<LocalRateLimiterProvider>,
    rate: RateLimit,
}

impl Trypema {
    #[inline]
    fn decide(&self, key: &str) -> bool {
        let decision = self.provider.absolute().inc(key, &self.rate, 1);
        matches!(decision, RateLimitDecision::Allowed)
    }
}

impl Trypema {
    fn with(quota: Quota) -> Self {
        let provider = LocalRateLimiterProvider::builder()
            .window_size(WindowSize::days_or_panic(1))
            .bucket_size(BucketSize::hours_or_panic(1))
            .disable_cleanup()
            .build()
            .expect("the bucket is smaller than the window");
        // Its limit is a float that is rounded down.
        let per_day = if quota.allows() { 1e9 } else { 1.5 };
        Self {
            provider,
            rate: RateLimit::per_day_or_panic(per_day),
        }
    }
}

impl Contender<String> for Trypema {
    fn new(quota: Quota, _: usize) -> Self {
        Self::with(quota)
    }

    #[inline]
    fn is_allowed(&self, key: &String) -> bool {
        self.decide(key)
    }
}

/// It has no form without a key; one constant key is the closest.
impl Contender<()> for Trypema {
    fn new(quota: Quota, _: usize) -> Self {
        Self::with(quota)
    }

    #[inline]
    fn is_allowed(&self, (): &()) -> bool {
        self.decide("all")
    }
}
