//! `limitador` with its storage in Redis, in the version of that client that it brings.

use std::collections::HashMap;

use limitador::AsyncRateLimiter;
use limitador::limit::{Limit, Namespace};
use limitador::storage::redis::AsyncRedisStorage;

use crate::contenders::Contender;

/// `limitador` with its storage in Redis.
pub struct Limitador {
    limiter: AsyncRateLimiter,
    namespace: Namespace,
}

impl Limitador {
    pub async fn new(url: &str) -> Self {
        let storage = AsyncRedisStorage::new(url).await.expect("it is there");
        let limiter = AsyncRateLimiter::new_with_storage(Box::new(storage));
        let variable = "user".try_into().expect("an expression");
        limiter.add_limit(Limit::new(
            "benchmark",
            u64::from(u32::MAX),
            3600,
            [],
            [variable],
        ));
        Self {
            limiter,
            namespace: "benchmark".into(),
        }
    }
}

impl Contender for Limitador {
    const NAME: &'static str = "limitador";

    async fn decide(&self, key: &str) -> bool {
        let values = HashMap::from([("user".to_owned(), key.to_owned())]);
        let context = values.into();
        let checked = self
            .limiter
            .check_rate_limited_and_update(&self.namespace, &context, 1);
        !checked.await.expect("it answers").limited
    }
}
