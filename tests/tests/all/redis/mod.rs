//! The Redis backend on real servers.
//!
//! - here: the conformance suite on each kind of server;
//! - `store`: what is in the store; `faults`: what is said when it fails, and how it recovers;
//! - `start`: what is checked at start-up; `access`: ways to a server;
//! - `cluster`, `sentinel`: servers that move;
//! - `refund`: corrections; `leased`: budgets that are spent in slices;
//! - `many`: several clients, processes and clocks; `merged`: checks that are asked together.

mod access;
mod faults;
mod leased;
mod many;
mod merged;
mod moving;
mod recovery;
mod refund;
mod start;
mod store;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_backends::redis::{RedisBackend, RedisBuilder};
use ratelimit_core::{Algorithm, Backend, BoxFuture, Check, Decision, Join, KeyBuf, Policy};
use ratelimit_tests::conformance::{Store, Time};
use ratelimit_tests::servers::cluster::Cluster;
use ratelimit_tests::servers::redis::Redis;
use ratelimit_tests::servers::valkey::Valkey;

/// Time enough on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// Servers that are asked by what is built.
struct Started<S, B>(S, B);

impl<S: Send + Sync, B: Fn(&S) -> RedisBuilder + Send + Sync> Store for Started<S, B> {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let backend = self.1(&self.0).timeout(PATIENCE);
        let backend = match time {
            Time::Injected(clock) => backend.clock(clock),
            Time::Own => backend,
        };
        Box::pin(async {
            Arc::new(backend.connect().await.expect("it is there")) as Arc<dyn Backend>
        })
    }

    fn drops_by_injected_clock(&self) -> bool {
        false
    }
}

mod standalone {
    use super::*;

    ratelimit_tests::conformance!(Started(Redis::start(), |server: &Redis| {
        RedisBackend::builder(server.url())
    }));
}

mod valkey {
    use super::*;

    ratelimit_tests::conformance!(Started(Valkey::start(), |server: &Redis| {
        RedisBackend::builder(server.url())
    }));
}

mod in_a_cluster {
    use super::*;

    ratelimit_tests::conformance!(Started(Cluster::start(), |cluster: &Cluster| {
        RedisBackend::cluster(cluster.urls())
    }));
}

fn policy(algorithm: Algorithm, limits: &str) -> Policy {
    Policy::named("p".into(), algorithm, limits.parse().unwrap())
}

/// One decision, which has to be one.
async fn decide(backend: &RedisBackend, policy: &Policy, key: &str, cost: u32) -> Decision {
    try_decide(backend, policy, key, cost)
        .await
        .expect("a decision")
}

async fn try_decide(
    backend: &RedisBackend,
    policy: &Policy,
    key: &str,
    cost: u32,
) -> Result<Decision, ratelimit_core::Error> {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref()).with_cost(cost);
    let mut answers = backend.decide(&[check], Join::Each).await;
    answers.remove(0)
}
