//! Corrections. Here: that each is one call, and what those that are not do; `follow`: that they do what the state's own
//! arithmetic does, in `random` histories.

mod follow;
mod random;

use ratelimit_core::{Adjust, Limits};

use super::*;

/// How often scripts were called.
fn calls(server: &Redis) -> usize {
    let says = server.ask("INFO commandstats");
    let of = |name: &str| -> usize {
        let mut lines = says.lines();
        let count = lines.find_map(|line| line.strip_prefix(name)?.split(',').next());
        count.map_or(0, |count| count.parse().expect("a count"))
    };
    of("cmdstat_evalsha:calls=") + of("cmdstat_eval:calls=")
}

/// What the server was asked by its clients and scripts since the last reset of its statistics.
fn commands(server: &Redis) -> Vec<String> {
    let says = server.ask("INFO commandstats");
    let names = says.lines().filter_map(|line| {
        let name = line.strip_prefix("cmdstat_")?.split(':').next()?;
        Some(name.to_owned())
    });
    let mut names: Vec<_> = names
        .filter(|name| !name.starts_with("config") && name != "info")
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn giving_back_and_charging_more_are_one_call_each() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await.expect("it is there");
    let rates = [
        "9/h",
        "9/h, 30/d",
        "9/h, 30/d, 90/w",
        "9/h, 30/d, 90/w, 99/30d",
    ];
    let mut script_is_there = false;
    for algorithm in Algorithm::ALL {
        for rates in rates {
            server.ask("FLUSHALL");
            let policy = policy(algorithm, rates);
            let mut charge = decide(&backend, &policy, "k", 4).await.charge().clone();
            let key = KeyBuf::of("k");
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            let name = format!("ratelimit:{{t%01k}}:p:{algorithm}");
            for (by, cost, left) in [
                (-1, 3, 6),
                (i64::MIN, 0, 9),
                (2, 2, 7),
                (i64::MAX, 9, 0),
                (0, 9, 0),
            ] {
                if !script_is_there {
                    let nothing = Adjust::new(check, charge.clone(), 0);
                    backend
                        .adjust(&[nothing])
                        .await
                        .remove(0)
                        .expect("an answer");
                    script_is_there = true;
                }
                assert_eq!(server.ask("CONFIG RESETSTAT").trim(), "+OK");
                let adjust = Adjust::new(check, charge.clone(), by);
                let decision = backend
                    .adjust(&[adjust])
                    .await
                    .remove(0)
                    .expect("an answer");
                let is = format!("{algorithm} {rates} {by}");
                assert_eq!(calls(&server), 1, "{is}");
                let commands = commands(&server);
                let write = match by {
                    0 => None,
                    i64::MIN => Some("del"),
                    _ => Some("set"),
                };
                let mut expected: Vec<_> = write
                    .into_iter()
                    .chain(["evalsha", "get", "time"])
                    .collect();
                expected.sort_unstable();
                assert_eq!(commands, expected, "{is}");
                charge = decision.charge().clone();
                assert_eq!((charge.cost(), decision.remaining()), (cost, left), "{is}");
                let keeps = server.ask(&format!("PTTL {name}"));
                let keeps: i64 = keeps[1..].trim().parse().expect("milliseconds");
                let reset =
                    i64::try_from(decision.reset_after().as_millis()).expect("milliseconds");
                if by == i64::MIN {
                    assert_eq!(keeps, -2, "{is}");
                } else {
                    // A server that is held up between reading its clock and storing keeps it for as much longer.
                    assert!(keeps.abs_diff(reset) < 1_000, "{is}: {keeps} of {reset}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_the_script_cannot_do_holds_up_what_comes_after_it_of_its_key() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await.expect("it is there");
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "10/h");
        let other: Limits = "10/d".parse().unwrap();
        let keys = ["k", "other"].map(KeyBuf::of);
        let mut charges = Vec::new();
        for key in ["k", "other"] {
            charges.push(decide(&backend, &policy, key, 4).await.charge().clone());
        }
        let of = |key: usize, limits, by| {
            let check = Check::new(&policy, limits, keys[key].as_ref());
            Adjust::new(check, charges[key].clone(), by)
        };
        let adjusts = [
            of(0, policy.limits(), -1),
            of(0, &other, 2),
            of(1, policy.limits(), -2),
            of(0, policy.limits(), -1),
            of(1, policy.limits(), i64::MAX),
        ];
        if algorithm == Algorithm::ALL[0] {
            backend
                .adjust(&[of(1, policy.limits(), 0)])
                .await
                .remove(0)
                .expect("an answer");
            backend
                .peek(&[adjusts[0].check])
                .await
                .remove(0)
                .expect("an answer");
        }
        assert_eq!(server.ask("CONFIG RESETSTAT").trim(), "+OK");
        let answers = backend.adjust(&adjusts).await;
        let left: Vec<_> = answers
            .iter()
            .map(|it| it.as_ref().map(Decision::remaining))
            .collect();
        let after = [7, 0, 8, 8, 0];
        for (place, (left, expected)) in left.iter().zip(after).enumerate() {
            // What the other limits start from is theirs to say.
            if place != 1 {
                assert_eq!(
                    left.as_ref().ok(),
                    Some(&expected),
                    "{algorithm} {place}: {answers:?}"
                );
            }
        }
        assert_eq!(
            calls(&server),
            3,
            "{algorithm}: one, and an exchange of two"
        );
        server.ask("FLUSHALL");
    }
}

#[tokio::test]
async fn what_is_no_state_spoils_nobody_elses_correction() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await.expect("it is there");
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "10/h");
        let name = format!("ratelimit:{{t%03bad}}:p:{algorithm}");
        let head = format!("\\x01\\x{:02x}\\x01", algorithm.number());
        let mut states = vec![
            (format!("SET {name} \"\\x02later\""), "format 2"),
            (format!("SET {name} \"{head}\""), "too soon"),
            (format!("HSET {name} a b"), "no state of ours"),
            (format!("APPEND {name} x"), "stands behind"),
        ];
        if algorithm == Algorithm::SlidingWindow {
            states.push((
                format!("SET {name} {}", log_of_a_wrong_sum()),
                "no state has",
            ));
        }
        for (set, says) in states {
            server.ask("FLUSHALL");
            let charge = decide(&backend, &policy, "good", 4).await.charge().clone();
            if set.starts_with("APPEND") {
                decide(&backend, &policy, "bad", 4).await;
            }
            assert!(!server.ask(&set).starts_with('-'), "{set}");
            let dump = server.ask(&format!("DUMP {name}"));
            let keys = ["good", "bad", "good"].map(KeyBuf::of);
            let adjusts = keys.each_ref().map(|key| {
                let check = Check::new(&policy, policy.limits(), key.as_ref());
                Adjust::new(check, charge.clone(), -1)
            });
            let answers = backend.adjust(&adjusts).await;
            let left = |place: usize| answers[place].as_ref().map(Decision::remaining).ok();
            assert_eq!(
                [left(0), left(2)],
                [Some(7), Some(8)],
                "{algorithm} {set} {answers:?}"
            );
            let error = answers[1].as_ref().expect_err("it is no state");
            assert!(
                error.to_string().contains(says),
                "{algorithm} {set}: {error}"
            );
            assert_eq!(
                server.ask(&format!("DUMP {name}")),
                dump,
                "it is left alone"
            );
        }
    }
}

#[tokio::test]
async fn many_corrections_are_few_calls_and_each_counts() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await.expect("it is there");
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "1000/d");
        let charge = decide(&backend, &policy, "k", 700).await.charge().clone();
        let key = KeyBuf::of("k");
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        let one = |_| Adjust::new(check, charge.clone(), -1);
        let adjusts: Vec<_> = (0..600).map(one).collect();
        if algorithm == Algorithm::ALL[0] {
            backend
                .adjust(&[Adjust::new(check, charge.clone(), 0)])
                .await
                .remove(0)
                .expect("an answer");
        }
        assert_eq!(server.ask("CONFIG RESETSTAT").trim(), "+OK");
        let answers = backend.adjust(&adjusts).await;
        assert_eq!(calls(&server), 2, "{algorithm}");
        for (left, answer) in (301..).zip(&answers) {
            assert_eq!(
                answer.as_ref().map(Decision::remaining).ok(),
                Some(left),
                "{algorithm}"
            );
        }
    }
}

/// Of two entries, of which one is over.
fn log_of_a_wrong_sum() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut bytes = vec![1, Algorithm::SlidingWindow.number(), 1];
    bytes.extend(3_600_000_000_000_u64.to_be_bytes());
    bytes.extend(2_u32.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    for (seconds, cost) in [(1, 2_u32), (now.expect("it is past 1970").as_secs() - 9, 1)] {
        bytes.extend(u64::to_be_bytes(seconds));
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(cost.to_be_bytes());
    }
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{}\"", bytes.concat())
}
