//! `limitador` in memory. Its question is a map of variables, as it is where it runs in a proxy;
//! its limits are counts per window.

use std::collections::HashMap;

use limitador::RateLimiter;
use limitador::limit::{Context, Limit, Namespace};

use super::Contender;
use crate::quota::Quota;

/// One limit in one namespace.
pub struct Limitador {
    limiter: RateLimiter,
    namespace: Namespace,
}

impl Limitador {
    fn with(quota: Quota, keys: usize, variables: &[&str]) -> Self {
        // The cache evicts; as for the others, it has more room than there are keys.
        let room = (keys + keys / 4).max(100_000);
        let limiter = RateLimiter::new(room as u64);
        let namespace = "benchmark";
        let most = if quota.allows() { u64::MAX / 2 } else { 1 };
        let variables = variables
            .iter()
            .map(|name| (*name).try_into().expect("a name is an expression"));
        limiter.add_limit(Limit::new(namespace, most, 366 * 24 * 3600, [], variables));
        Self {
            limiter,
            namespace: namespace.into(),
        }
    }

    fn decide(&self, context: &Context<'_>) -> bool {
        let result = self
            .limiter
            .check_rate_limited_and_update(&self.namespace, context, 1);
        !result.expect("memory does not fail").limited
    }
}

impl Contender<String> for Limitador {
    fn new(quota: Quota, keys: usize) -> Self {
        Self::with(quota, keys, &["user"])
    }

    #[inline]
    fn is_allowed(&self, key: &String) -> bool {
        let values = HashMap::from([("user".to_owned(), key.clone())]);
        self.decide(&values.into())
    }
}

impl Contender<()> for Limitador {
    fn new(quota: Quota, keys: usize) -> Self {
        Self::with(quota, keys, &[])
    }

    #[inline]
    fn is_allowed(&self, (): &()) -> bool {
        self.decide(&Context::default())
    }
}
