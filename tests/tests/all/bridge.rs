//! Callers that block, and backends that decide elsewhere.

use std::time::{Duration, Instant};

use ratelimit::{Ask, ErrorKind, Policy, Registry, Rejection, ratelimit, testing};

use crate::backends::{Fault, Faulty};

#[ratelimit(name = "bridged", key = key, rate = "10/h")]
fn guarded(key: u32) -> Result<(), Rejection> {
    let _ = key;
    Ok(())
}

fn scope(fault: Fault, timeout: Duration) -> testing::Scope {
    let builder = Registry::builder()
        .backend("elsewhere", Faulty::new(fault))
        .blocking_timeout(timeout);
    testing::scope_with(|_| builder).unwrap()
}

const LONG: Duration = Duration::from_secs(20);

fn exactly_ten() {
    assert_eq!((0..20).filter(|_| guarded(1).is_ok()).count(), 10);
}

#[test]
fn a_plain_thread_is_served() {
    for fault in [Fault::Yields, Fault::Sleeps] {
        let _scope = scope(fault, LONG);
        exactly_ten();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn inside_a_current_thread_runtime() {
    let _scope = scope(Fault::Sleeps, LONG);
    exactly_ten();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn inside_the_only_worker_of_a_runtime() {
    let scope = scope(Fault::Sleeps, LONG);
    let work = scope.wrap(async { exactly_ten() });
    tokio::spawn(work).await.unwrap();
    let handle = scope.handle();
    tokio::task::spawn_blocking(move || handle.run(|| assert!(guarded(2).is_ok())))
        .await
        .unwrap();
}

#[test]
fn many_threads_are_served_at_once() {
    let scope = scope(Fault::Sleeps, LONG);
    let handle = scope.handle();
    let admitted: usize = std::thread::scope(|threads| {
        let work = || handle.run(|| (0..5).filter(|_| guarded(3).is_ok()).count());
        let threads: Vec<_> = (0..32).map(|_| threads.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 10);
}

/// Real time: bounded by the timeout, and far from the time that a hanging call would take.
#[test]
fn a_backend_that_hangs_is_a_timeout() {
    let _scope = scope(Fault::Hangs, Duration::from_millis(50));
    let start = Instant::now();
    let Err(Rejection::Unavailable(error)) = guarded(1) else {
        panic!("it hangs")
    };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "backend `elsewhere`: timeout: no answer within 50ms"
    );
    assert!(start.elapsed() >= Duration::from_millis(50) && start.elapsed() < LONG);
}

#[test]
fn the_plain_api_blocks_in_the_same_way() {
    let scope = scope(Fault::Sleeps, LONG);
    let registry = scope.registry();
    let policy = Policy::new(
        "plain",
        ratelimit::Algorithm::TokenBucket,
        ratelimit::rate!("3/h"),
    );
    let ask = Ask::new(&policy, "k");
    let first = registry.ask_blocking(&ask).unwrap();
    let many = registry.check_many_blocking(&[ask.clone(), ask.clone(), ask.clone()]);
    assert_eq!(
        many.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true, false]
    );
    registry.refund_blocking(&ask, &first).unwrap();
    assert_eq!(registry.peek_blocking(&ask).unwrap().remaining(), 1);
    registry.reset_blocking(&ask).unwrap();
    assert_eq!(registry.peek_blocking(&ask).unwrap().remaining(), 3);
    assert!(
        registry
            .check_all_blocking(&[ask.clone(), ask.clone().cost(2)])
            .is_err(),
        "the backend says that it joins the rates of one key only"
    );
}
