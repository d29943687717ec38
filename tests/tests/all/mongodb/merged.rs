//! Checks that are asked together: how many commands they are, and that no answer changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use ratelimit_backends::mongodb::MongoBackend;
use ratelimit_core::{Adjust, Algorithm, Backend, Check, Join, KeyBuf, KeyRef};
use ratelimit_tests::servers::mongodb::MongoDb;

use super::{admin, connected, decide, policy};

/// How often the server was asked for something that has to do with decisions.
async fn commands(server: &MongoDb) -> i64 {
    let admin = admin(server).await;
    let status = admin.run_command(doc! { "serverStatus": 1 });
    let status = status.await.expect("a status");
    let all = status
        .get_document("metrics")
        .and_then(|it| it.get_document("commands"));
    let all = all.expect("counts of commands");
    let of = |name: &str| all.get_document(name).and_then(|it| it.get_i64("total"));
    [
        "findAndModify",
        "update",
        "aggregate",
        "delete",
        "find",
        "commitTransaction",
    ]
    .map(|name| of(name).unwrap_or_default())
    .iter()
    .sum()
}

/// Waits until a server that has just been started no longer asks itself. Real time.
async fn quiet(server: &MongoDb) {
    let started = Instant::now();
    let (mut since, mut before) = (started, commands(server).await);
    while since.elapsed() < Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = commands(server).await;
        if now != before {
            (since, before) = (Instant::now(), now);
        }
        assert!(started.elapsed() < super::PATIENCE, "it is never quiet");
    }
}

/// How many commands something takes.
async fn taken<T>(server: &MongoDb, work: impl Future<Output = T>) -> (T, i64) {
    let before = commands(server).await;
    let done = work.await;
    (done, commands(server).await - before)
}

#[tokio::test]
async fn one_decision_is_one_command() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    quiet(&server).await;
    for algorithm in Algorithm::ALL {
        for limits in ["2/h", "2/h, 3/d", "7_999/8s, 2/m, 3/h, 4/d"] {
            let policy = policy(algorithm, limits);
            for (allowed, cost) in [(true, 1), (true, 1), (false, 1), (false, 2), (true, 0)] {
                let asked = decide(&backend, &policy, limits, cost);
                let (decision, commands) = taken(&server, asked).await;
                assert_eq!(decision.expect("a decision").is_allowed(), allowed);
                // A log is read, and replaced.
                let two = algorithm == Algorithm::SlidingWindow && allowed && cost > 0;
                let expected = if two { 2 } else { 1 };
                assert_eq!(commands, expected, "{algorithm} {limits} {cost}");
            }
        }
    }
}

#[tokio::test]
async fn a_batch_is_two_commands_and_one_where_all_are_denied() {
    let server = MongoDb::start();
    let backend = MongoBackend::builder(server.url()).in_flight(1);
    let backend = backend
        .timeout(super::PATIENCE)
        .connect()
        .await
        .expect("it is there");
    quiet(&server).await;
    let policies = Algorithm::ALL.map(|algorithm| policy(algorithm, "3/h"));
    let keys: Vec<_> = (0..18).map(|key| KeyBuf::of(&(key % 6))).collect();
    let checks: Vec<_> = keys
        .iter()
        .zip(policies.iter().cycle())
        .map(|(key, policy)| Check::new(policy, policy.limits(), key.as_ref()))
        .collect();
    let (answers, taken_by_batch) = taken(&server, backend.decide(&checks, Join::Each)).await;
    assert_eq!(taken_by_batch, 2);
    // Those of one key in order.
    let left: Vec<_> = answers
        .into_iter()
        .map(|it| it.expect("a decision").remaining())
        .collect();
    assert_eq!(left, [[2; 6], [1; 6], [0; 6]].concat());
    let (answers, taken_by_denials) = taken(&server, backend.decide(&checks, Join::Each)).await;
    assert!(
        answers
            .into_iter()
            .all(|it| !it.expect("a decision").is_allowed())
    );
    assert_eq!(taken_by_denials, 1);
    let checks = policies.each_ref().map(|policy| {
        let key = KeyRef::from_bytes(b"joined");
        Check::new(policy, policy.limits(), key)
    });
    let (answers, taken_by_joined) = taken(&server, backend.decide(&checks, Join::All)).await;
    let charges: Vec<_> = answers
        .into_iter()
        .map(|it| it.expect("a decision").charge().clone())
        .collect();
    // They are one transaction, and the first one of a session makes the server ask itself.
    assert!(
        (3..=5).contains(&taken_by_joined),
        "{taken_by_joined} commands"
    );
    let adjusts: Vec<_> = checks
        .iter()
        .zip(charges)
        .map(|(check, charge)| Adjust::refund(*check, charge))
        .collect();
    let (answers, taken_by_refunds) = taken(&server, backend.adjust(&adjusts)).await;
    assert!(
        answers
            .into_iter()
            .all(|it| it.expect("a decision").remaining() == 3)
    );
    assert_eq!(taken_by_refunds, 2);
}

#[tokio::test]
async fn what_comes_at_the_same_time_is_asked_together() {
    let server = MongoDb::start();
    let backend = Arc::new(connected(&server).await);
    let work = async {
        let tasks = (0..300_u32).map(|task| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                let policy = policy(Algorithm::TokenBucket, "100/366d");
                decide(&backend, &policy, &format!("k{}", task % 3), 1).await
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut left = [Vec::new(), Vec::new(), Vec::new()];
        for (task, asked) in tasks.into_iter().enumerate() {
            let decision = asked.await.unwrap().expect("a decision");
            assert!(decision.is_allowed());
            left[task % 3].push(decision.remaining());
        }
        left
    };
    let (left, commands) = taken(&server, work).await;
    assert!(commands <= 40, "{commands} commands");
    // Each saw another number left.
    for mut left in left {
        left.sort_unstable();
        assert_eq!(left, (0..100).collect::<Vec<_>>());
    }
}

/// Another process's writes come between reading and replacing.
#[tokio::test]
async fn several_instances_lose_nothing() {
    let server = MongoDb::start();
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(Arc::new(connected(&server).await));
    }
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let tasks = (0..64_usize).map(|task| {
            let backend = Arc::clone(&instances[task % 4]);
            tokio::spawn(async move {
                let policy = policy(algorithm, "500/366d");
                let mut admitted = 0;
                for round in 0..10 {
                    let key = if (task + round) % 3 == 0 {
                        "one"
                    } else {
                        "other"
                    };
                    let decision = decide(&backend, &policy, key, 1).await;
                    admitted += u32::from(decision.expect("a decision").is_allowed());
                }
                admitted
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += task.await.unwrap();
        }
        let policy = policy(algorithm, "500/366d");
        let mut left = 0;
        for key in ["one", "other"] {
            let decision = decide(&instances[0], &policy, key, 0).await;
            left += decision.expect("a decision").remaining();
        }
        assert_eq!(admitted + left, 1_000, "{algorithm}");
        assert_eq!(admitted, 640, "{algorithm}: there was room for all");
    }
}
