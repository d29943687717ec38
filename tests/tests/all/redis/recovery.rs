//! What happens to the server, and what becomes of the calls: each failure has its error, each call its
//! bound, and all of it recovers by itself.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, Backend, ErrorKind};
use ratelimit_tests::servers::proxy::{Line, Proxy};
use ratelimit_tests::servers::redis::Redis;
use tokio::runtime::{Builder, Runtime};

use super::{PATIENCE, decide, policy, try_decide};

/// How long a call may take here.
const BOUND: Duration = Duration::from_millis(300);

/// What a busy machine adds to it.
const SLACK: Duration = Duration::from_secs(2);

async fn lazy(url: String) -> RedisBackend {
    let backend = RedisBackend::builder(url).timeout(BOUND);
    let backend = backend.connect_timeout(BOUND).lazy();
    let backend = backend.expect("the options are right");
    let policy = policy(Algorithm::Gcra, "1000000/s");
    until_it_decides(&backend, &policy).await;
    backend
}

/// Asks until it decides again.
async fn until_it_decides(backend: &RedisBackend, policy: &ratelimit_core::Policy) -> Duration {
    let started = Instant::now();
    loop {
        let asked = Instant::now();
        let decision = try_decide(backend, policy, "k", 1).await;
        assert!(asked.elapsed() < BOUND + SLACK, "{:?}", asked.elapsed());
        match decision {
            Ok(_) => return started.elapsed(),
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The kind of the error of the next call, which ends in time.
async fn fails(backend: &RedisBackend, policy: &ratelimit_core::Policy) -> ratelimit_core::Error {
    let asked = Instant::now();
    let error = try_decide(backend, policy, "k", 1).await;
    assert!(asked.elapsed() < BOUND + SLACK, "{:?}", asked.elapsed());
    error.expect_err("it cannot")
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    let server = Redis::start();
    let backend = lazy(server.url()).await;
    let policy = policy(Algorithm::TokenBucket, "1000000/s");
    server.kill();
    for _ in 0..20 {
        let error = fails(&backend, &policy).await;
        assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
        assert!(error.is_temporary());
    }
    server.restart();
    let took = until_it_decides(&backend, &policy).await;
    assert!(
        took < 3 * SLACK,
        "a pause is not longer than a second: {took:?}"
    );
}

#[tokio::test]
async fn a_dead_server_is_asked_now_and_then_alone() {
    let server = Redis::start();
    let backend = lazy(server.url()).await;
    let policy = policy(Algorithm::TokenBucket, "1000000/s");
    server.kill();
    while fails(&backend, &policy).await.message().contains("closed") {}
    // Somebody else listens there, and counts.
    let listener = std::net::TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    let attempts = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&attempts);
    std::thread::spawn(move || {
        while listener.accept().is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let started = Instant::now();
    let mut calls = 0;
    while started.elapsed() < Duration::from_secs(1) {
        fails(&backend, &policy).await;
        calls += 1;
    }
    let attempts = attempts.load(Ordering::Relaxed);
    assert!(
        attempts < 20 && calls > 10 * attempts,
        "{attempts} of {calls}"
    );
}

#[tokio::test]
async fn a_server_that_is_frozen_and_thawed() {
    let server = Redis::start();
    let backend = lazy(server.url()).await;
    let policy = policy(Algorithm::TokenBucket, "1000000/s");
    server.freeze();
    let started = Instant::now();
    for _ in 0..4 {
        let error = fails(&backend, &policy).await;
        let late = [ErrorKind::Timeout, ErrorKind::Connection];
        assert!(late.contains(&error.kind()), "{error:?}");
    }
    assert!(started.elapsed() < 4 * BOUND + SLACK);
    server.thaw();
    until_it_decides(&backend, &policy).await;
}

#[tokio::test]
async fn lines_that_break_in_every_way() {
    let server = Redis::start();
    let proxy = Proxy::before(server.port());
    let backend = lazy(proxy.url()).await;
    let policy = policy(Algorithm::TokenBucket, "1000000/s");
    let slow = Line::Delay(10 * BOUND);
    let timeout = &[ErrorKind::Timeout][..];
    let broken = &[ErrorKind::Connection][..];
    // Once it is given up, there is none.
    let lost = &[ErrorKind::Timeout, ErrorKind::Connection][..];
    for (line, first, then) in [
        (Line::Reset, broken, broken),
        (Line::Refuse, broken, broken),
        (Line::CutAfter(0), broken, broken),
        (Line::CutAfter(7), broken, broken),
        (slow, timeout, lost),
        (Line::Blackhole, timeout, lost),
    ] {
        proxy.set(line);
        let mut kinds = first;
        for _ in 0..4 {
            let error = fails(&backend, &policy).await;
            assert!(kinds.contains(&error.kind()), "{line:?} {error:?}");
            kinds = then;
        }
        proxy.set(Line::Pass);
        until_it_decides(&backend, &policy).await;
    }
}

#[tokio::test]
async fn a_line_that_has_died_unseen_is_left() {
    let server = Redis::start();
    let proxy = Proxy::before(server.port());
    let backend = lazy(proxy.url()).await;
    let policy = policy(Algorithm::TokenBucket, "1000000/s");
    let clients = || {
        let clients = server.ask("CLIENT LIST");
        clients.lines().filter(|line| line.contains("id=")).count()
    };
    let before = clients();
    proxy.set(Line::Blackhole);
    for _ in 0..2 {
        assert_eq!(fails(&backend, &policy).await.kind(), ErrorKind::Timeout);
    }
    proxy.set(Line::Pass);
    until_it_decides(&backend, &policy).await;
    let until = Instant::now() + PATIENCE;
    while clients() != before {
        assert!(Instant::now() < until, "one connection as before");
        tokio::time::sleep(BOUND).await;
    }
}

#[tokio::test]
async fn connections_that_the_server_closes_are_replaced_before_anybody_sees() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connections(3).connect().await.unwrap();
    let policy = policy(Algorithm::TokenBucket, "1000000/h");
    for round in 0..20 {
        decide(&backend, &policy, "k", 1).await;
        server.ask("CLIENT KILL TYPE normal");
        // The end of the connection has arrived by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let decision = try_decide(&backend, &policy, "k", 1).await;
        assert!(decision.is_ok(), "{round} {decision:?}");
    }
}

#[tokio::test]
async fn scripts_and_keys_that_are_flushed_under_load() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = Arc::new(backend.connect().await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = Algorithm::ALL
        .into_iter()
        .cycle()
        .take(24)
        .map(|algorithm| {
            let (backend, stop) = (Arc::clone(&backend), Arc::clone(&stop));
            tokio::spawn(async move {
                let policy = policy(algorithm, "5000/s");
                let mut decided = 0;
                while !stop.load(Ordering::Relaxed) {
                    for cost in [1, 0] {
                        decide(&backend, &policy, "k", cost).await;
                    }
                    decided += 1;
                }
                decided
            })
        })
        .collect();
    for round in 0..40 {
        let flush = if round % 2 == 0 {
            "SCRIPT FLUSH"
        } else {
            "FLUSHALL"
        };
        assert_eq!(server.ask(flush).trim(), "+OK");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await.expect("every call was decided") > 0);
    }
    // What was flushed is fresh.
    let policy = policy(Algorithm::FixedWindow, "2/366d");
    assert_eq!(decide(&backend, &policy, "k", 2).await.remaining(), 0);
    server.ask("FLUSHALL");
    assert_eq!(decide(&backend, &policy, "k", 1).await.remaining(), 1);
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_and_a_master_again() {
    let master = Redis::start();
    let server = Redis::start();
    let backend = lazy(server.url()).await;
    let policy = policy(Algorithm::TokenBucket, "1000000/s");
    let demote = format!("REPLICAOF 127.0.0.1 {}", master.port());
    assert_eq!(server.ask(&demote).trim(), "+OK");
    for _ in 0..5 {
        let error = fails(&backend, &policy).await;
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert!(
            !error.is_temporary() && error.to_string().contains("read"),
            "{error}"
        );
    }
    assert_eq!(server.ask("REPLICAOF NO ONE").trim(), "+OK");
    until_it_decides(&backend, &policy).await;
}

#[tokio::test]
async fn memory_that_gets_full_and_free_again() {
    let server = Redis::start();
    let backend = lazy(server.url()).await;
    server.ask("CONFIG SET maxmemory-policy noeviction");
    server.ask("CONFIG SET maxmemory 1");
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "1000000/s");
        if algorithm == Algorithm::SlidingWindow {
            continue;
        }
        let error = fails(&backend, &policy).await;
        assert_eq!(error.kind(), ErrorKind::Refused, "{algorithm} {error:?}");
        assert!(error.message().contains("maxmemory"), "{error}");
    }
    server.ask("CONFIG SET maxmemory 0");
    until_it_decides(&backend, &policy(Algorithm::Gcra, "1000000/s")).await;
}

#[tokio::test]
async fn a_password_that_is_changed() {
    let server = Redis::start();
    let proxy = Proxy::before(server.port());
    let backend = lazy(proxy.url()).await;
    let policy = policy(Algorithm::Gcra, "1000000/s");
    server.ask("CONFIG SET requirepass word");
    proxy.set(Line::Reset);
    proxy.set(Line::Pass);
    let until = Instant::now() + PATIENCE;
    loop {
        // First of all the connection breaks.
        let kind = try_decide(&backend, &policy, "k", 1)
            .await
            .map_err(|it| it.kind());
        match kind {
            Err(ErrorKind::Refused) => break,
            Ok(_) | Err(ErrorKind::Connection) => assert!(Instant::now() < until),
            Err(other) => panic!("{other}"),
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn runtimes_that_come_and_go() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.lazy().unwrap();
    let policy = policy(Algorithm::FixedWindow, "100/366d");
    for round in 0..5 {
        let runtime = runtime();
        let decision = runtime.block_on(decide(&backend, &policy, "k", 1));
        assert_eq!(decision.remaining(), 99 - round);
    }
    // Two that are there at the same time, of which only one runs at a time.
    let (one, other) = (runtime(), runtime());
    one.block_on(decide(&backend, &policy, "k", 1));
    let slow = RedisBackend::builder(server.url())
        .timeout(BOUND)
        .lazy()
        .unwrap();
    one.block_on(decide(&slow, &policy, "k", 1));
    // The connection is the first one's, which does nothing: it is left after two calls.
    let answers: Vec<_> = (0..3)
        .map(|_| other.block_on(try_decide(&slow, &policy, "k", 1)))
        .collect();
    assert!(answers[2].is_ok(), "{answers:?}");
    drop(one);
    other.block_on(decide(&slow, &policy, "k", 1));
}

#[test]
fn outside_of_any_runtime_it_says_so() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).lazy().unwrap();
    let policy = policy(Algorithm::FixedWindow, "100/366d");
    // What keeps the time is the tests' own.
    let plain = Builder::new_current_thread().build().unwrap();
    let ask = || decide_on_a_plain_thread(&backend, &policy);
    let error = ask().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    // And on one without I/O.
    let error = plain.block_on(try_decide(&backend, &policy, "k", 1));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Connection);
}

/// Polls once: what it needs is there or not.
fn decide_on_a_plain_thread(
    backend: &RedisBackend,
    policy: &ratelimit_core::Policy,
) -> Result<ratelimit_core::Decision, ratelimit_core::Error> {
    let mut asked = Box::pin(try_decide(backend, policy, "k", 1));
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    match asked.as_mut().poll(&mut context) {
        core::task::Poll::Ready(answer) => answer,
        core::task::Poll::Pending => panic!("it waits for what nobody does"),
    }
}

#[tokio::test]
async fn a_closed_backend_lets_its_connections_go() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await.unwrap();
    let policy = policy(Algorithm::Gcra, "1/s");
    decide(&backend, &policy, "k", 1).await;
    let clients = || {
        let clients = server.ask("CLIENT LIST");
        clients
            .lines()
            .filter(|line| line.contains("cmd=eval"))
            .count()
    };
    assert_eq!(clients(), 1);
    backend.close().await;
    let error = try_decide(&backend, &policy, "k", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let until = Instant::now() + PATIENCE;
    while clients() > 0 {
        assert!(Instant::now() < until, "the connection ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
