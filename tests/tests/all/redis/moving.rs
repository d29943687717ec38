//! Servers that move while they are asked: slots between the nodes of a cluster, and masters that fail.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, Backend, Check, ErrorKind, Join, JoinScope, KeyBuf};
use ratelimit_tests::servers::cluster::Cluster;
use ratelimit_tests::servers::redis::Redis;
use ratelimit_tests::servers::sentinel::Sentinel;
use ratelimit_tests::servers::valkey::Valkey;
use tokio::task::JoinHandle;

use super::{PATIENCE, decide, policy, try_decide};

/// How long a failover may take here.
const FAILOVER: Duration = Duration::from_secs(30);

async fn of(cluster: &Cluster) -> Arc<RedisBackend> {
    let backend = RedisBackend::cluster(cluster.urls()).timeout(PATIENCE);
    Arc::new(backend.connect().await.expect("it is there"))
}

/// Asks for units of many keys until it is stopped; says how many were admitted of each.
fn load(backend: &Arc<RedisBackend>, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<u32>> {
    let (backend, stop) = (Arc::clone(backend), Arc::clone(stop));
    tokio::spawn(async move {
        let policy = policy(Algorithm::FixedWindow, "100000/366d");
        let mut admitted = vec![0; 20];
        while !stop.load(Ordering::Relaxed) {
            let keys: Vec<_> = (0..20_u32).map(|key| KeyBuf::of(&key)).collect();
            let checks: Vec<_> = keys
                .iter()
                .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
                .collect();
            for (key, answer) in backend.decide(&checks, Join::Each).await.iter().enumerate() {
                match answer {
                    Ok(decision) => admitted[key] += u32::from(decision.is_allowed()),
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
        admitted
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_while_they_are_asked_and_nothing_is_lost() {
    let cluster = Cluster::start();
    let backend = of(&cluster).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..4).map(|_| load(&backend, &stop)).collect();
    let slots: Vec<u16> = (0..20_u32)
        .map(|key| {
            let name = ratelimit_core::KeyBuf::of(&key);
            let bytes = name.as_ref().as_bytes().into_owned();
            cluster.slot_of(escaped(&bytes))
        })
        .collect();
    let moved = tokio::task::spawn_blocking(move || {
        for (round, slot) in slots.iter().cycle().take(30).enumerate() {
            let from = cluster.node_of(*slot);
            cluster.move_slot(*slot, from, (from + 1 + round % 2) % 3);
        }
        cluster
    });
    let cluster = moved.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut admitted = vec![0; 20];
    for task in tasks {
        for (sum, of_task) in admitted.iter_mut().zip(task.await.expect("no error")) {
            *sum += of_task;
        }
    }
    // A call that was asked again after it was decided may have been charged twice, and none was for nothing.
    let policy = policy(Algorithm::FixedWindow, "100000/366d");
    for (key, admitted) in admitted.into_iter().enumerate() {
        let key = KeyBuf::of(&u32::try_from(key).unwrap());
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        let left = backend.peek(&[check]).await.remove(0).unwrap().remaining();
        assert_eq!(100_000 - left, admitted, "{key:?}");
    }
    drop(cluster);
}

/// What a key is called between the braces.
fn escaped(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut name, byte| {
        if byte.is_ascii_alphanumeric() || b"_-.@".contains(byte) {
            name.push(char::from(*byte));
        } else {
            let _ = write!(name, "%{byte:02x}");
        }
        name
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_slot_that_is_half_moved() {
    let cluster = Cluster::start();
    let backend = of(&cluster).await;
    // Two policies of one key are two keys of one slot.
    let policies = ["one", "other", "third"].map(|name| {
        let limits = "10/366d".parse().unwrap();
        ratelimit_core::Policy::named(name.into(), Algorithm::TokenBucket, limits)
    });
    let key = KeyBuf::of("alice");
    let checks: Vec<_> = policies
        .iter()
        .map(|policy| Check::new(policy, policy.limits(), key.as_ref()))
        .collect();
    let names = ["one", "other"].map(|it| format!("ratelimit:{{t%05alice}}:{it}:token_bucket"));
    let slot = cluster.slot_of("t%05alice");
    let left = |answers: ratelimit_core::Answers| -> Vec<u32> {
        answers
            .into_iter()
            .map(|it| it.unwrap().remaining())
            .collect()
    };
    // The third is fresh: it exists nowhere.
    assert_eq!(left(backend.decide(&checks[..2], Join::Each).await), [9, 9]);
    let from = cluster.node_of(slot);
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to);
    cluster.move_key(&names[0], from, to);
    assert_eq!(left(backend.decide(&checks, Join::Each).await), [8, 8, 9]);
    // One decision over several keys is one call, which neither node can make.
    let joined = backend.decide(&checks, Join::All).await;
    for answer in joined {
        let error = answer.unwrap_err();
        assert!(
            error.is_temporary() && error.to_string().contains("rehashing"),
            "{error:?}"
        );
    }
    cluster.finish_move(slot, from, to);
    assert_eq!(left(backend.decide(&checks, Join::All).await), [7, 7, 8]);
    assert_eq!(cluster.node_of(slot), to);
}

#[tokio::test]
async fn what_is_one_decision_is_of_one_slot() {
    let cluster = Cluster::of(&Valkey::options(), 0);
    let backend = of(&cluster).await;
    assert_eq!(backend.capabilities().join, JoinScope::SameSlot);
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "3/h");
        let keys = ["alice", "bob"].map(KeyBuf::of);
        let checks: Vec<_> = keys
            .iter()
            .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
            .collect();
        for answer in backend.decide(&checks, Join::All).await {
            assert_eq!(
                answer.unwrap_err().to_string(),
                "unsupported: checks that are one decision have to be of one slot of a Redis \
                 Cluster, and these are of 2"
            );
        }
        for answer in backend.decide(&checks, Join::Each).await {
            assert_eq!(answer.unwrap().remaining(), 2, "nothing was charged");
        }
        for answer in backend.peek(&checks).await {
            assert_eq!(answer.unwrap().remaining(), 2);
        }
        backend.reset(&checks).await.unwrap();
        for answer in backend.peek(&checks).await {
            assert_eq!(answer.unwrap().remaining(), 3);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_master_fails() {
    let cluster = Cluster::with_replicas(1);
    let backend = RedisBackend::cluster(cluster.urls()).timeout(Duration::from_millis(500));
    let backend = backend.connect().await.expect("it is there");
    let policy = policy(Algorithm::FixedWindow, "100000/366d");
    let slot = cluster.slot_of("t%05alice");
    let node = cluster.node_of(slot);
    // Somebody whose keys another master has.
    let bystander = ["bob", "carol", "dave", "erin", "frank"]
        .into_iter()
        .find(|name| {
            let tag = format!("t%0{}{name}", name.len());
            cluster.node_of(cluster.slot_of(tag)) != node
        })
        .expect("one of them is elsewhere");
    decide(&backend, &policy, "alice", 1).await;
    decide(&backend, &policy, bystander, 1).await;
    cluster.node(node).kill();
    let killed = Instant::now();
    let mut failures = 0;
    loop {
        let asked = Instant::now();
        let answer = try_decide(&backend, &policy, "alice", 1).await;
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
        match answer {
            Ok(_) => break,
            Err(error) => {
                failures += 1;
                assert!(error.is_temporary(), "{error:?}");
                assert!(killed.elapsed() < FAILOVER, "{error:?}");
            }
        }
    }
    assert!(failures > 0);
    cluster.wait_for_failover(slot, node);
    decide(&backend, &policy, bystander, 1).await;
    // All of it comes back: with no node as it was.
    cluster.node(node).restart();
    cluster.wait_until_complete();
    decide(&backend, &policy, "alice", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_frozen_holds_up_its_own_keys_alone() {
    let cluster = Cluster::start();
    let timeout = Duration::from_millis(300);
    let backend = RedisBackend::cluster(cluster.urls()).timeout(timeout);
    let backend = Arc::new(backend.connect().await.expect("it is there"));
    let policy = policy(Algorithm::TokenBucket, "1000000/s");
    let names: Vec<String> = (0..30).map(|name| format!("user{name}")).collect();
    for name in &names {
        decide(&backend, &policy, name, 1).await;
    }
    let node_of = |name: &str| {
        let tag = escaped(&KeyBuf::of(name).as_ref().as_bytes());
        cluster.node_of(cluster.slot_of(tag))
    };
    let (frozen, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| node_of(name) == 0);
    cluster.node(0).freeze();
    // Many wait for the one that is frozen.
    let waiting: Vec<_> = frozen
        .iter()
        .cycle()
        .take(100)
        .map(|name| {
            let (backend, policy, name) = (Arc::clone(&backend), policy.clone(), (*name).clone());
            tokio::spawn(async move { try_decide(&backend, &policy, &name, 1).await.is_ok() })
        })
        .collect();
    tokio::time::sleep(timeout / 10).await;
    for name in &others {
        decide(&backend, &policy, name, 1).await;
    }
    for waits in waiting {
        assert!(!waits.await.unwrap());
    }
    cluster.node(0).thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_name_another_master() {
    let sentinel = Sentinel::start();
    let backend = RedisBackend::sentinel(sentinel.sentinel_urls(), Sentinel::SERVICE)
        .timeout(Duration::from_millis(500));
    let backend = Arc::new(backend.connect().await.expect("it is there"));
    let policy = policy(Algorithm::FixedWindow, "100000/366d");
    let old = sentinel.master();
    decide(&backend, &policy, "alice", 7).await;
    sentinel.servers()[1].catch_up_with(old);
    sentinel.kill_master();
    let killed = Instant::now();
    let decision = loop {
        let asked = Instant::now();
        let answer = try_decide(&backend, &policy, "alice", 1).await;
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{:?}",
            asked.elapsed()
        );
        match answer {
            Ok(decision) => break decision,
            Err(error) => assert!(killed.elapsed() < FAILOVER, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(
        decision.remaining(),
        100_000 - 8,
        "the replica knew what was charged"
    );
    let new = sentinel.wait_for_failover(old);
    assert_ne!(new.port(), old.port());
    // The first sentinel is not the only one.
    sentinel.sentinels()[0].freeze();
    new.ask("CLIENT KILL TYPE normal");
    let until = Instant::now() + FAILOVER;
    while try_decide(&backend, &policy, "alice", 1).await.is_err() {
        assert!(Instant::now() < until);
    }
    sentinel.sentinels()[0].thaw();
}

#[tokio::test]
async fn a_master_that_was_demoted_is_left() {
    let sentinel = Sentinel::start();
    let backend = RedisBackend::sentinel(sentinel.sentinel_urls(), Sentinel::SERVICE)
        .timeout(Duration::from_millis(500));
    let backend = backend.connect().await.expect("it is there");
    let policy = policy(Algorithm::FixedWindow, "100000/366d");
    decide(&backend, &policy, "alice", 1).await;
    let old = sentinel.master();
    let command = format!("SENTINEL FAILOVER {}", Sentinel::SERVICE);
    assert_eq!(sentinel.sentinels()[0].ask(&command).trim(), "+OK");
    sentinel.wait_for_failover(old);
    let until = Instant::now() + FAILOVER;
    // Both are up; only one can be written to.
    let refused = [
        ErrorKind::Refused,
        ErrorKind::Connection,
        ErrorKind::Timeout,
    ];
    while let Err(error) = try_decide(&backend, &policy, "alice", 1).await {
        assert!(refused.contains(&error.kind()), "{error:?}");
        assert!(Instant::now() < until, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let keys = |server: &Redis| server.ask("DBSIZE").trim().to_owned();
    assert_eq!(keys(sentinel.master()), ":1");
}
