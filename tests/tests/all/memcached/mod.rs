//! The Memcached backend on real servers.
//!
//! - here: the conformance suite, on one server and on several;
//! - `faults`: what is said when one fails or is not as it should be; `store`: what is kept there, and how often it is asked;
//!   `together`: several clients and several servers.

mod faults;
mod runtimes;
mod store;
mod together;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_backends::memcached::{MemcachedBackend, MemcachedBuilder};
use ratelimit_core::{
    Algorithm, Backend, BoxFuture, Check, Decision, Error, Join, KeyBuf, Limits, Policy,
};
use ratelimit_tests::conformance::{Store, Time};
use ratelimit_tests::servers::memcached::Memcached;

/// Time enough on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// Servers of a test.
struct Started<const COUNT: usize>([Memcached; COUNT]);

impl<const COUNT: usize> Started<COUNT> {
    fn new() -> Self {
        Self(core::array::from_fn(|_| Memcached::start()))
    }

    fn builder(&self) -> MemcachedBuilder {
        let servers = self.0.iter().map(Memcached::address);
        MemcachedBackend::builder(servers).timeout(PATIENCE)
    }
}

impl<const COUNT: usize> Store for Started<COUNT> {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let builder = match time {
            Time::Injected(clock) => self.builder().clock(clock),
            Time::Own => self.builder(),
        };
        Box::pin(async {
            Arc::new(builder.connect().await.expect("it is there")) as Arc<dyn Backend>
        })
    }

    /// They have clocks of their own for that.
    fn drops_by_injected_clock(&self) -> bool {
        false
    }
}

mod one {
    use super::*;

    ratelimit_tests::conformance!(Started::<1>::new());
}

mod three {
    use super::*;

    ratelimit_tests::conformance!(Started::<3>::new());
}

fn policy(limits: &str) -> Policy {
    policy_of(Algorithm::TokenBucket, limits)
}

fn policy_of(algorithm: Algorithm, limits: &str) -> Policy {
    let limits: Limits = limits.parse().expect("limits");
    Policy::named("p".into(), algorithm, limits)
}

async fn ask(backend: &dyn Backend, policy: &Policy, key: &str) -> Result<Decision, Error> {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref());
    backend.decide(&[check], Join::Each).await.remove(0)
}
