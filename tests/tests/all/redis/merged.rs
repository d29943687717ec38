//! Checks that are asked together: how many calls they are, and that no answer changes.

use std::sync::Arc;
use std::time::Duration;

use ratelimit_backends::redis::{RedisBackend, RedisBuilder};
use ratelimit_core::{Algorithm, Backend, Check, Decision, ErrorKind, Join, KeyBuf};
use ratelimit_tests::servers::redis::Redis;

use super::{PATIENCE, decide, policy, try_decide};

/// How often the server was asked for a decision.
fn calls(server: &Redis) -> usize {
    let stats = server.ask("INFO commandstats");
    let of = |command: &str| -> usize {
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        let count = line.and_then(|line| line.split(',').next());
        count.map_or(0, |count| count.parse().unwrap())
    };
    of("evalsha") + of("eval")
}

async fn connected(server: &Redis, tune: impl Fn(RedisBuilder) -> RedisBuilder) -> RedisBackend {
    let backend = tune(RedisBackend::builder(server.url()).timeout(PATIENCE));
    let backend = backend.connect().await.expect("it is there");
    // All scripts are known.
    for (algorithm, cost) in [(Algorithm::Gcra, 1), (Algorithm::FixedWindow, 1)] {
        decide(&backend, &policy(algorithm, "1000/s"), "first", cost).await;
    }
    server.ask("CONFIG RESETSTAT");
    backend
}

#[tokio::test]
async fn one_decision_is_one_call() {
    let server = Redis::start();
    let backend = connected(&server, |it| it).await;
    let key = KeyBuf::of("k");
    let mut expected = 0;
    for algorithm in Algorithm::ALL {
        for limits in ["2/h", "2/h, 3/d"] {
            let policy = policy(algorithm, limits);
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            for cost in [1, 1, 1, 0] {
                decide(&backend, &policy, limits, cost).await;
                expected += 1;
                assert_eq!(calls(&server), expected, "{algorithm} {limits} {cost}");
            }
            backend.peek(&[check]).await.remove(0).expect("a decision");
            expected += 1;
            assert_eq!(calls(&server), expected, "{algorithm} {limits}");
        }
    }
}

/// Only the first call under a period that the key does not know yet takes longer.
#[tokio::test]
async fn one_decision_is_one_call_after_limits_have_changed() {
    let server = Redis::start();
    let backend = connected(&server, |it| it).await;
    for algorithm in Algorithm::ALL {
        let name = policy(algorithm, "1/s").algorithm().name();
        let plans = ["20/h", "30/d", "20/h, 30/d", "40/w, 30/d"];
        for plan in plans {
            decide(&backend, &policy(algorithm, plan), name, 1).await;
        }
        if algorithm == Algorithm::SlidingWindow {
            // A log's states are put in order elsewhere.
            continue;
        }
        let before = calls(&server);
        for round in 1..=3 {
            for (place, plan) in plans.into_iter().enumerate() {
                let decision = decide(&backend, &policy(algorithm, plan), name, 1).await;
                assert!(decision.is_allowed());
                let expected = before + (round - 1) * plans.len() + place + 1;
                assert_eq!(calls(&server), expected, "{algorithm}, {plan}");
            }
        }
    }
}

#[tokio::test]
async fn a_batch_is_one_call_whatever_is_in_it() {
    let server = Redis::start();
    let backend = connected(&server, |it| it).await;
    let policies: Vec<_> = Algorithm::ALL
        .into_iter()
        .map(|algorithm| policy(algorithm, "3/h"))
        .collect();
    let keys: Vec<_> = (0..32).map(|key| KeyBuf::of(&(key % 8))).collect();
    let checks: Vec<_> = keys
        .iter()
        .zip(policies.iter().cycle())
        .map(|(key, policy)| Check::new(policy, policy.limits(), key.as_ref()))
        .collect();
    for answer in backend.decide(&checks, Join::Each).await {
        answer.expect("a decision");
    }
    assert_eq!(calls(&server), 1);
    let joined = backend.decide(&checks[..6], Join::All).await;
    assert!(
        joined
            .iter()
            .all(|it| it.as_ref().is_ok_and(Decision::is_allowed))
    );
    assert_eq!(calls(&server), 2);
    // What is denied is worked out from what was told, but for logs.
    let few: Vec<_> = checks[..6]
        .iter()
        .filter(|check| check.policy.algorithm() != Algorithm::SlidingWindow)
        .map(|check| check.with_cost(3))
        .collect();
    let denied = backend.decide(&few, Join::All).await;
    assert!(
        denied
            .iter()
            .all(|it| it.as_ref().is_ok_and(|it| !it.is_allowed()))
    );
    assert_eq!(calls(&server), 3);
}

#[tokio::test]
async fn what_comes_at_the_same_time_is_asked_together() {
    let server = Redis::start();
    let backend = Arc::new(connected(&server, |it| it).await);
    let ask = |count: u32| {
        let tasks = (0..count).map(|task| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                let policy = policy(Algorithm::TokenBucket, "100/366d");
                decide(&backend, &policy, &format!("k{}", task % 3), 1).await
            })
        });
        tasks.collect::<Vec<_>>()
    };
    let mut left = [Vec::new(), Vec::new(), Vec::new()];
    for (task, asked) in ask(300).into_iter().enumerate() {
        let decision = asked.await.unwrap();
        assert!(decision.is_allowed());
        left[task % 3].push(decision.remaining());
    }
    let made = calls(&server);
    assert!(made <= 4 + 300 / 32, "{made} calls");
    // Each saw another number left.
    for mut left in left {
        left.sort_unstable();
        assert_eq!(left, (0..100).collect::<Vec<_>>());
    }
    for asked in ask(3) {
        assert!(!asked.await.unwrap().is_allowed());
    }
}

#[tokio::test]
async fn without_merging_each_is_a_call() {
    let server = Redis::start();
    let backend = Arc::new(connected(&server, |it| it.max_batch(1)).await);
    let tasks = (0..50).map(|_| {
        let backend = Arc::clone(&backend);
        tokio::spawn(async move {
            let policy = policy(Algorithm::TokenBucket, "100/366d");
            decide(&backend, &policy, "k", 1).await
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(calls(&server), 50);
}

#[tokio::test]
async fn checks_of_one_key_in_a_batch_are_decided_in_order() {
    let server = Redis::start();
    let backend = connected(&server, |it| it).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "1000/366d");
        let key = KeyBuf::of("k");
        let check = |cost| Check::new(&policy, policy.limits(), key.as_ref()).with_cost(cost);
        // More than go into one call.
        let mut checks = vec![check(1); 1_100];
        // One in the middle takes another way, and those after it with it.
        checks[700] = check(0);
        let answers = backend.decide(&checks, Join::Each).await;
        let mut left = 1_000;
        for (index, answer) in answers.into_iter().enumerate() {
            let answer = answer.unwrap();
            if index != 700 && left > 0 {
                left -= 1;
            }
            assert_eq!(answer.remaining(), left, "{algorithm} {index}");
            assert_eq!(
                answer.is_allowed(),
                index <= 1_000 || checks[index].cost == 0
            );
        }
        server.ask("FLUSHALL");
    }
}

#[tokio::test]
async fn a_state_that_is_none_hurts_nobody_who_was_asked_for_together_with_it() {
    let server = Redis::start();
    let backend = Arc::new(connected(&server, |it| it.in_flight(1)).await);
    let policy = Arc::new(policy(Algorithm::TokenBucket, "5/366d"));
    server.ask("LPUSH ratelimit:{t%03bad}:p:token_bucket 1");
    server.ask("SET ratelimit:{t%05wrong}:p:token_bucket 1234567890123456789012345678901");
    let tasks: Vec<_> = [
        "bad", "good", "wrong", "bad", "good", "good", "fine", "wrong",
    ]
    .into_iter()
    .map(|key| {
        let (backend, policy) = (Arc::clone(&backend), Arc::clone(&policy));
        (
            key,
            tokio::spawn(async move { try_decide(&backend, &policy, key, 1).await }),
        )
    })
    .collect();
    let mut good = Vec::new();
    for (key, task) in tasks {
        let answer = task.await.unwrap();
        match key {
            "bad" | "wrong" => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Protocol),
            "good" => good.push(answer.unwrap().remaining()),
            _ => assert_eq!(answer.unwrap().remaining(), 4),
        }
    }
    good.sort_unstable();
    assert_eq!(good, [2, 3, 4]);
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let server = Redis::start();
    let backend = Arc::new(
        connected(&server, |it| {
            it.timeout(Duration::from_millis(500)).max_waiting(20)
        })
        .await,
    );
    server.freeze();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                let policy = policy(Algorithm::TokenBucket, "100/366d");
                try_decide(&backend, &policy, "k", 1).await
            })
        })
        .collect();
    let mut kinds = Vec::new();
    for task in tasks {
        kinds.push(task.await.unwrap().unwrap_err().kind());
    }
    let of = |kind| kinds.iter().filter(|it| **it == kind).count();
    assert_eq!(of(ErrorKind::Timeout), 24, "four are asked, twenty wait");
    assert_eq!(of(ErrorKind::Overloaded), 76);
    server.thaw();
    let policy = policy(Algorithm::TokenBucket, "1000/366d");
    while try_decide(&backend, &policy, "other", 1).await.is_err() {}
}
