//! Several clients, several processes, and several servers.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use ratelimit_backends::memcached::MemcachedBackend;
use ratelimit_core::{Algorithm, Answers, Backend, Check, ErrorKind, Join, KeyBuf, Policy};
use ratelimit_tests::servers::faults::Faults;
use ratelimit_tests::servers::memcached::Memcached;

use super::{PATIENCE, Started, ask, policy, policy_of};
use crate::{lines, processes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_clients_are_admitted_exactly_the_limit_of_one_key() {
    let server = Started::<1>::new();
    let policy = Arc::new(policy("1000/366d"));
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let backend = Arc::new(server.builder().connect().await.unwrap());
        for _ in 0..8 {
            let (backend, policy) = (Arc::clone(&backend), Arc::clone(&policy));
            tasks.push(tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..40 {
                    let decision = ask(&*backend, &policy, "k").await.unwrap();
                    admitted += u32::from(decision.is_allowed());
                }
                admitted
            }));
        }
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    assert_eq!(admitted, 1_000);
    let hits = server.0[0].count("cas_hits") + 1;
    let conflicts = server.0[0].count("cas_badval");
    assert!(
        hits < 1_000,
        "{hits} stores and {conflicts} conflicts: they were merged"
    );
}

/// What the other processes do; nothing in the process of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process() {
    if let Some(server) = processes::server() {
        let backend = MemcachedBackend::builder([server]).timeout(PATIENCE);
        processes::another(Arc::new(backend.connect().await.expect("it is there"))).await;
    }
}

/// They are on one machine, and have one clock, which is theirs and not the server's.
#[test]
fn processes_share_a_server() {
    let server = Memcached::start();
    processes::share("memcached::together::another_process", &server.address());
}

#[tokio::test]
async fn each_server_has_its_part_of_the_keys() {
    let servers = Started::<3>::new();
    let backend = servers.builder().connect().await.unwrap();
    let limits = policy("3/366d");
    for key in 0..300 {
        ask(&backend, &limits, &format!("key {key}")).await.unwrap();
    }
    let has = || {
        servers
            .0
            .each_ref()
            .map(|server| server.count("curr_items"))
    };
    assert!(has().iter().all(|items| *items > 50), "{:?}", has());
    assert_eq!(has().iter().sum::<u64>(), 300);
    // Whatever the order in which they are named.
    let addresses = servers.0.iter().rev().map(Memcached::address);
    let other = MemcachedBackend::connect(addresses);
    let other = other.await.unwrap();
    for key in 0..300 {
        let decision = ask(&other, &limits, &format!("key {key}")).await.unwrap();
        assert_eq!(decision.remaining(), 1, "{key}");
    }
}

#[tokio::test]
async fn a_server_that_fails_fails_alone() {
    let servers = Started::<3>::new();
    let backend = servers.builder().timeout(Duration::from_millis(300));
    let backend = backend.connect().await.unwrap();
    let limits = policy("3/366d");
    let keys: Vec<_> = (0..60).map(|key| format!("key {key}")).collect();
    for key in &keys {
        ask(&backend, &limits, key).await.unwrap();
    }
    servers.0[1].freeze();
    let started = Instant::now();
    let answers = all(&backend, &limits, &keys).await;
    let failed = answers.iter().filter_map(|it| it.as_ref().err());
    let failed: Vec<_> = failed.map(ratelimit_core::Error::kind).collect();
    assert!((5..55).contains(&failed.len()), "{failed:?}");
    assert!(
        failed.iter().all(|kind| *kind == ErrorKind::Timeout),
        "{failed:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(backend.ping().await.unwrap_err().kind(), ErrorKind::Timeout);
    servers.0[1].thaw();
    // Its keys were not moved.
    let peeked = all(&backend, &limits, &keys).await;
    let decided: Vec<_> = peeked.into_iter().map(Result::unwrap).collect();
    assert!(decided.iter().all(|it| it.remaining() <= 1));
}

/// Lines break and are mended all the time: an answer that is lost may be charged, and none is admitted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_lines_break_no_call_too_many_is_admitted() {
    let server = Memcached::start();
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let limits = Arc::new(policy_of(algorithm, "500/366d"));
        let all = lines::while_they_break(server.port(), 40, 7, &limits, |port| {
            let backend = MemcachedBackend::builder([format!("127.0.0.1:{port}")]);
            Arc::new(backend.timeout(Duration::from_millis(300)).lazy().unwrap())
        });
        let lines::Outcome { admitted, failed } = all.await;
        assert!(failed > 0, "nothing failed");
        let backend = MemcachedBackend::connect([server.address()]).await.unwrap();
        let key = KeyBuf::of("k");
        let check = Check::new(&limits, limits.limits(), key.as_ref());
        let left = backend.peek(&[check]).await.remove(0).unwrap().remaining();
        assert!(admitted + left <= 500, "{algorithm}: {admitted} and {left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_closed_while_calls_are_under_way() {
    let servers = Started::<3>::new();
    let backend = Arc::new(servers.builder().connect().await.unwrap());
    let tasks = (0..40_u32).map(|task| {
        let backend = Arc::clone(&backend);
        tokio::spawn(async move {
            let (limits, key) = (policy("9999/366d"), format!("key {}", task % 7));
            loop {
                if let Err(error) = ask(&*backend, &limits, &key).await {
                    return error;
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    ask(&*backend, &policy("9999/366d"), "k").await.unwrap();
    backend.close().await;
    for task in tasks {
        let error = task.await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    }
}

/// All at once.
async fn all(backend: &dyn Backend, limits: &Policy, keys: &[String]) -> Answers {
    let keys: Vec<_> = keys.iter().map(|key| KeyBuf::of(&**key)).collect();
    let checks: Vec<_> = keys
        .iter()
        .map(|key| Check::new(limits, limits.limits(), key.as_ref()))
        .collect();
    backend.decide(&checks, Join::Each).await
}
