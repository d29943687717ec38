//! This crate: the memory backend, asked through the plain interface of backends.

use ratelimit::{
    Algorithm, Backend, Check, Key, KeyBuf, KeyRef, Limit, Limits, MemoryBackend, Policy, Rate,
};
use std::time::Duration;

use super::Contender;
use crate::keys::BenchKey;
use crate::quota::Quota;

/// Keyed, under any algorithm.
pub struct Ours {
    backend: MemoryBackend,
    policy: Policy,
}

impl Ours {
    /// One algorithm of ours.
    pub fn with(algorithm: Algorithm, quota: Quota, keys: usize) -> Self {
        let mut backend = MemoryBackend::builder().max_keys(room_for(keys));
        if algorithm == Algorithm::SlidingWindow {
            backend = backend.max_log(LOG);
        }
        Self {
            backend: backend.build(),
            policy: policy(algorithm, quota),
        }
    }

    fn decide<K: Key + ?Sized>(&self, key: &K) -> bool {
        let mut scratch = KeyBuf::new();
        allowed(&self.backend, &self.policy, key.key_ref(&mut scratch))
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

fn allowed(backend: &MemoryBackend, policy: &Policy, key: KeyRef<'_>) -> bool {
    let check = Check::new(policy, policy.limits(), key);
    matches!(backend.decide_now(&check), Some(Ok(decision)) if decision.is_allowed())
}

impl<K: BenchKey> Contender<K> for Ours {
    fn new(quota: Quota, keys: usize) -> Self {
        Self::with(Algorithm::TokenBucket, quota, keys)
    }

    #[inline]
    fn is_allowed(&self, key: &K) -> bool {
        self.decide(key)
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
        allowed(&self.0.backend, &self.0.policy, KeyBuf::new().as_ref())
    }
}
