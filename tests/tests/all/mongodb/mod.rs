//! The MongoDB backend on a real server.
//!
//! - here: the conformance suite;
//! - `merged`: how many commands decisions are; `faults`: what is said when a server fails; `start`: what is said at start-up, of
//!   a server and of what is in it; `runtimes`: who asks from where; `many`: several processes; `time`: who reads the clock
//!   when; `ends`: what becomes of what is under way.

mod alike;
mod ends;
mod faults;
mod many;
mod merged;
mod runtimes;
mod start;
mod time;

use core::time::Duration;
use std::sync::Arc;

use mongodb::bson::Document;
use mongodb::{Client, Collection, Database};
use ratelimit_backends::mongodb::MongoBackend;
use ratelimit_core::{
    Algorithm, Backend, BoxFuture, Check, Decision, Error, Join, KeyBuf, Limits, Policy,
};
use ratelimit_tests::conformance::{Store, Time};
use ratelimit_tests::servers::mongodb::MongoDb;

/// Time enough on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

async fn connected(server: &MongoDb) -> MongoBackend {
    let backend = MongoBackend::builder(server.url()).timeout(PATIENCE);
    backend.connect().await.expect("it is there")
}

/// Where the server is told what it is to do.
async fn admin(server: &MongoDb) -> Database {
    let client = Client::with_uri_str(server.url()).await;
    client.expect("a client").database("admin")
}

async fn collection(server: &MongoDb) -> Collection<Document> {
    let admin = admin(server).await;
    admin.client().database("ratelimit").collection("ratelimit")
}

fn policy(algorithm: Algorithm, limits: &str) -> Policy {
    let limits: Limits = limits.parse().expect("limits");
    Policy::named("p".into(), algorithm, limits)
}

async fn decide(
    backend: &MongoBackend,
    policy: &Policy,
    key: &str,
    cost: u32,
) -> Result<Decision, Error> {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref()).with_cost(cost);
    backend.decide(&[check], Join::Each).await.remove(0)
}

struct Started(MongoDb);

impl Store for Started {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let backend = MongoBackend::builder(self.0.url()).timeout(PATIENCE);
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

ratelimit_tests::conformance!(Started(MongoDb::start()));
