//! `governor`: direct, keyed over `DashMap` (its default), keyed over `HashMap` behind a mutex;
//! each with its default clock, hasher and middleware.

use std::num::NonZeroU32;

use governor::clock::DefaultClock;
use governor::state::keyed::{DashMapStateStore, HashMapStateStore};
use governor::{DefaultDirectRateLimiter, RateLimiter};

use super::Contender;
use crate::keys::BenchKey;
use crate::quota::Quota;

fn quota(quota: Quota) -> governor::Quota {
    let burst = NonZeroU32::new(quota.burst()).expect("a burst is never zero");
    governor::Quota::with_period(quota.one_per())
        .expect("a period is never zero")
        .allow_burst(burst)
}

/// Keyed over `DashMap`.
pub struct Keyed<K: BenchKey>(RateLimiter<K, DashMapStateStore<K>, DefaultClock>);

impl<K: BenchKey> Contender<K> for Keyed<K> {
    fn new(allowed: Quota, _: usize) -> Self {
        Self(RateLimiter::dashmap(quota(allowed)))
    }

    #[inline]
    fn is_allowed(&self, key: &K) -> bool {
        self.0.check_key(key).is_ok()
    }

    fn forget_expired(&self) -> bool {
        self.0.retain_recent();
        true
    }
}

/// Keyed over `HashMap`.
pub struct KeyedHashMap<K: BenchKey>(RateLimiter<K, HashMapStateStore<K>, DefaultClock>);

impl<K: BenchKey> Contender<K> for KeyedHashMap<K> {
    fn new(allowed: Quota, _: usize) -> Self {
        Self(RateLimiter::hashmap(quota(allowed)))
    }

    #[inline]
    fn is_allowed(&self, key: &K) -> bool {
        self.0.check_key(key).is_ok()
    }

    fn forget_expired(&self) -> bool {
        self.0.retain_recent();
        true
    }
}

/// Without a key.
pub struct Direct(DefaultDirectRateLimiter);

impl Contender<()> for Direct {
    fn new(allowed: Quota, _: usize) -> Self {
        Self(RateLimiter::direct(quota(allowed)))
    }

    #[inline]
    fn is_allowed(&self, (): &()) -> bool {
        self.0.check().is_ok()
    }
}
