//! The conformance suite on a Redis server; `store`: what is in the store; `faults`: what is said when it fails.

mod faults;
mod store;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Backend, BoxFuture};
use ratelimit_tests::conformance::{Store, Time};
use ratelimit_tests::servers::redis::Redis;

impl Store for Started {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let backend = RedisBackend::builder(self.0.url()).timeout(Duration::from_secs(10));
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

struct Started(Redis);

ratelimit_tests::conformance!(Started(Redis::start()));
