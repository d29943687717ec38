//! Rows that are over.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use ratelimit_backends::sql::{SqlBackend, SqlBuilder};
use ratelimit_core::{Algorithm, Backend, Check, Join, KeyBuf, ManualClock, Policy, Sweep};
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;

use super::{File, PATIENCE};

async fn spend(backend: &dyn Backend, keys: core::ops::Range<u32>) {
    let policy = Policy::new("p", Algorithm::TokenBucket, "1/m".parse().unwrap());
    let keys: Vec<_> = keys.map(|key| KeyBuf::of(&key)).collect();
    let checks: Vec<_> = keys
        .iter()
        .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
        .collect();
    for answer in backend.decide(&checks, Join::Each).await {
        assert!(answer.expect("a decision").is_allowed());
    }
}

async fn swept(builder: SqlBuilder) {
    let clock = Arc::new(ManualClock::new());
    let builder = builder.timeout(PATIENCE).clock(Arc::clone(&clock));
    let backend = builder.clone().sweep_every(None).connect().await;
    let backend = backend.expect("it is there");
    spend(&backend, 0..25).await;
    clock.advance(Duration::from_secs(61));
    spend(&backend, 25..30).await;

    let sweep = Sweep::new().with_batch(4);
    let counted = backend.sweep(sweep.with_dry_run(true)).await.unwrap();
    assert_eq!((counted.removed, counted.kept), (25, 5));
    let removed = backend.sweep(sweep).await.unwrap();
    assert_eq!((removed.removed, removed.kept), (25, 5));
    let nothing = backend.sweep(sweep).await.unwrap();
    assert_eq!((nothing.removed, nothing.kept), (0, 5));

    // In the background, while somebody asks.
    clock.advance(Duration::from_secs(61));
    let round = Duration::from_secs(1);
    let sweeping = builder.sweep_every(round).connect().await;
    let sweeping = sweeping.expect("it is there");
    let started = Instant::now();
    for key in 100.. {
        let counted = backend.sweep(sweep.with_dry_run(true)).await.unwrap();
        if counted.removed == 0 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{counted:?}");
        spend(&sweeping, key..key + 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Real time, for the part in the background.
#[tokio::test]
async fn what_is_over_is_removed() {
    let server = Postgres::start();
    swept(SqlBackend::builder(server.url())).await;
    let server = MariaDb::start();
    swept(SqlBackend::builder(server.url())).await;
    let file = File::new();
    swept(SqlBackend::builder(file.url())).await;
}

#[test]
fn more_often_than_can_be_done() {
    let builder = SqlBackend::builder(File::new().url());
    let error = builder.sweep_every(Duration::from_millis(1)).lazy();
    let error = error.expect_err("that is too often");
    let says =
        "a sweep every 1ms is more than can be done: 1s is the shortest, and `None` is never";
    assert_eq!(error.message(), says);
}
