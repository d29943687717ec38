//! Calls that are given up, backends that are closed or dropped while calls are under way.

use core::pin::pin;
use core::task::{Context, Waker};
use std::sync::Arc;

use ratelimit_backends::mongodb::MongoBackend;
use ratelimit_core::{Algorithm, Backend, Check, ErrorKind, Join, KeyBuf};
use ratelimit_tests::servers::mongodb::MongoDb;
use tokio::runtime::Builder;

use super::{PATIENCE, connected, decide, policy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_closed_while_calls_are_under_way() {
    let server = MongoDb::start();
    for _ in 0..5 {
        let backend = Arc::new(connected(&server).await);
        let tasks = (0..40_u32).map(|task| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                let policy = policy(Algorithm::Gcra, "9999/366d");
                let mut decided = 0;
                loop {
                    match decide(&backend, &policy, &format!("k{}", task % 7), 1).await {
                        Ok(_) => decided += 1,
                        Err(error) => return (decided, error),
                    }
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        decide(&backend, &policy(Algorithm::Gcra, "9999/366d"), "k", 1)
            .await
            .expect("a decision");
        backend.close().await;
        for task in tasks {
            let (_, error) = task.await.expect("it ends");
            let kinds = [ErrorKind::Closed, ErrorKind::Connection];
            assert!(kinds.contains(&error.kind()), "{error:?}");
        }
    }
}

/// What is dropped has no runtime any more on which it could end what it has begun.
#[test]
fn what_is_begun_is_dropped_outside_of_any_runtime() {
    let server = MongoDb::start();
    let backend = MongoBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect_blocking().expect("it is there");
    let policy = policy(Algorithm::TokenBucket, "1000/366d");
    let keys: Vec<_> = (0..3).map(|key| KeyBuf::of(&key)).collect();
    let checks: Vec<_> = keys
        .iter()
        .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
        .collect();
    for join in [Join::Each, Join::All] {
        for steps in 0..30 {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let mut asked = pin!(backend.decide(&checks, join));
            runtime.block_on(async {
                // So far, and not any farther.
                for _ in 0..steps {
                    let mut context = Context::from_waker(Waker::noop());
                    if asked.as_mut().poll(&mut context).is_ready() {
                        return;
                    }
                    tokio::time::sleep(core::time::Duration::from_micros(300)).await;
                }
            });
            if steps % 2 == 0 {
                drop(runtime);
            }
        }
    }
    // A transaction that nobody ended locks its keys for as long as the server allows it.
    let others = [KeyBuf::of("one"), KeyBuf::of("other")];
    let checks = others
        .each_ref()
        .map(|key| Check::new(&policy, policy.limits(), key.as_ref()));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let after = runtime.block_on(backend.decide(&checks, Join::All));
    assert!(
        after
            .into_iter()
            .all(|it| it.expect("a decision").is_allowed())
    );
    drop(backend);
}
