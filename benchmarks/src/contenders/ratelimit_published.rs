//! The published crate that is called `ratelimit`, too: without keys.

use ratelimit_published::Ratelimiter;

use super::Contender;
use crate::quota::Quota;

/// One limiter, full at first.
pub struct Published(Ratelimiter);

impl Contender<()> for Published {
    fn new(quota: Quota, _: usize) -> Self {
        let limiter = Ratelimiter::builder(1)
            .period(quota.one_per())
            .max_tokens(quota.burst().into())
            .initial_available(quota.burst().into())
            .build();
        Self(limiter.expect("the quota is within bounds"))
    }

    #[inline]
    fn is_allowed(&self, (): &()) -> bool {
        self.0.try_wait().is_ok()
    }
}
