//! Several clients, several processes, and clocks that do not agree: one budget.

use std::sync::Arc;

use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, Backend, KeyBuf};
use ratelimit_tests::servers::cluster::Cluster;
use ratelimit_tests::servers::redis::Redis;

use super::{PATIENCE, decide, policy};
use crate::processes::{self, assert_shared, start, take};

async fn at(url: &str) -> RedisBackend {
    let cluster: Vec<&str> = url.split(',').collect();
    let builder = match cluster[..] {
        [one] => RedisBackend::builder(one),
        _ => RedisBackend::cluster(cluster),
    };
    builder
        .timeout(PATIENCE)
        .connect()
        .await
        .expect("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_share_a_server() {
    let (server, cluster) = (Redis::start(), Cluster::start());
    for url in [server.url(), cluster.urls().join(",")] {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(tokio::spawn(take(Arc::new(at(&url).await))));
        }
        let mut taken = Vec::new();
        for client in clients {
            taken.push(client.await.unwrap());
        }
        assert_shared(taken);
    }
}

/// What the other processes do; nothing in the process of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process() {
    if let Some(url) = processes::server() {
        processes::another(Arc::new(at(&url).await)).await;
    }
}

#[test]
fn processes_whose_clocks_are_weeks_apart_share_a_server() {
    let server = Redis::start();
    processes::share_weeks_apart("redis::many::another_process", &server.url());
}

#[test]
fn clocks_that_are_hours_apart_give_the_same_answers() {
    let server = Redis::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let backend = runtime.block_on(at(&server.url()));
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "3/365d, 5/366d");
        runtime.block_on(async {
            for _ in 0..3 {
                assert!(decide(&backend, &policy, "k", 1).await.is_allowed());
            }
        });
    }
    // Another process, an hour ahead, finds all of it used up.
    for clock in ["+1h", "-1h", "+30d"] {
        let child = start("redis::many::an_hour_ahead", &server.url(), Some(clock));
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("all denied"),
            "{said}"
        );
    }
}

/// What the other process does.
#[tokio::test]
async fn an_hour_ahead() {
    let Some(url) = processes::server() else {
        return;
    };
    let backend = at(&url).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "3/365d, 5/366d");
        let decision = decide(&backend, &policy, "k", 1).await;
        assert!(!decision.is_allowed(), "{algorithm} {decision:?}");
        let key = KeyBuf::of("k");
        let check = ratelimit_core::Check::new(&policy, policy.limits(), key.as_ref());
        let peeked = backend.peek(&[check]).await.remove(0).unwrap();
        assert_eq!(peeked.remaining(), 0);
    }
    println!("all denied");
}
