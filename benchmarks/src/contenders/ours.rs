//! This crate: a limiter of the memory backend, and the backend asked as every backend is.

use std::sync::Arc;
use std::time::Duration;

use ratelimit::{
    Algorithm, Backend, Check, Key, KeyBuf, Limit, Limits, MemoryBackend, MemoryLimiter, Policy,
    Rate,
};

use super::Contender;
use crate::keys::BenchKey;
use crate::quota::Quota;

/// Keyed, under any algorithm.
pub struct Ours(MemoryLimiter);

impl Ours {
    /// One algorithm of ours.
    pub fn with(algorithm: Algorithm, quota: Quota, keys: usize) -> Self {
        let mut backend = MemoryBackend::builder().max_keys(room_for(keys));
        if algorithm == Algorithm::SlidingWindow {
            backend = backend.max_log(LOG);
        }
        Self(Arc::new(backend.build()).limiter(policy(algorithm, quota)))
    }
}

/// Somewhat more keys than are used, as who sets a bound would.
fn room_for(keys: usize) -> usize {
    (keys + keys / 4).max(100_000)
}

/// What a log may hold at most. A log that admits everything has to be large, or brief.
const LOG: u32 = 1_000_000;

fn policy(algorithm: Algorithm, quota: Quota) -> Policy {
    if algorithm.is_bucket() || quota == Quota::Deny {
        let rate = Rate::new(1, quota.one_per()).expect("the rate is within bounds");
        let limit = Limit::new(rate)
            .with_burst(quota.burst())
            .expect("the burst is within bounds");
        return Policy::new("benchmark", algorithm, rate).with_limits(Limits::new(limit));
    }
    // Windows have no burst: what never runs out is a large limit in a long window, or, where each
    // admitted call is kept, in a short one.
    let rate = if algorithm == Algorithm::SlidingWindow {
        Rate::new(LOG, Duration::from_millis(1))
    } else {
        Rate::new(4_000_000_000, Duration::from_hours(366 * 24))
    };
    Policy::new(
        "benchmark",
        algorithm,
        rate.expect("the rate is within bounds"),
    )
}

impl<K: BenchKey> Contender<K> for Ours {
    fn new(quota: Quota, keys: usize) -> Self {
        Self::with(Algorithm::TokenBucket, quota, keys)
    }

    #[inline]
    fn is_allowed(&self, key: &K) -> bool {
        matches!(self.0.check(key), Ok(checked) if checked.is_allowed())
    }
}

/// One bucket for the whole policy.
pub struct OursDirect(Ours);

impl Contender<()> for OursDirect {
    fn new(quota: Quota, keys: usize) -> Self {
        Self(Ours::with(Algorithm::TokenBucket, quota, keys))
    }

    #[inline]
    fn is_allowed(&self, (): &()) -> bool {
        matches!(self.0.0.check_unkeyed(), Ok(checked) if checked.is_allowed())
    }
}

/// Asked as any backend can be: each question brings its policy and limits, each answer says what it
/// takes to give a charge back.
pub struct OursByCheck(Ours);

impl Contender<String> for OursByCheck {
    fn new(quota: Quota, keys: usize) -> Self {
        Self(Ours::with(Algorithm::TokenBucket, quota, keys))
    }

    #[inline]
    fn is_allowed(&self, key: &String) -> bool {
        let (limiter, mut scratch) = (&self.0.0, KeyBuf::new());
        let policy = limiter.policy();
        let check = Check::new(policy, policy.limits(), key.key_ref(&mut scratch));
        let decided = limiter.backend().decide_now(&check);
        matches!(decided, Some(Ok(decision)) if decision.is_allowed())
    }
}
