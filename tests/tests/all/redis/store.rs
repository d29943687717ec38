//! What is in the store: no key without an expiry, nothing that was not charged, and scripts that come back.

use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, Backend, Check, Decision, Join, KeyBuf};
use ratelimit_tests::servers::redis::Redis;

use super::{PATIENCE, decide, policy};

async fn backend(server: &Redis) -> RedisBackend {
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    backend.connect().await.expect("it is there")
}

#[tokio::test]
async fn every_key_expires_when_it_is_fresh_again() {
    let server = Redis::start();
    let backend = backend(&server).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "2/m, 30/h");
        let decision = decide(&backend, &policy, "alice", 1).await;
        let name = format!("ratelimit:{{t%05alice}}:p:{}", algorithm.name());
        let answer = server.ask(&format!("PTTL {name}"));
        let left: u128 = answer[1..].trim().parse().expect("an expiry");
        let reset = decision.reset_after().as_millis();
        assert!(
            left <= reset + 2 && left + 1_000 > reset,
            "{algorithm}: {left} of {reset}"
        );
    }
    assert_eq!(server.ask("DBSIZE").trim(), ":6");
}

#[tokio::test]
async fn what_is_not_charged_writes_nothing() {
    let server = Redis::start();
    let backend = backend(&server).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "2/h");
        decide(&backend, &policy, "asked", 0).await;
        assert_eq!(server.ask("DBSIZE").trim(), ":0", "{algorithm}");
        decide(&backend, &policy, "k", 2).await;
        let name = format!("ratelimit:{{t%01k}}:p:{}", algorithm.name());
        let before = server.ask(&format!("DUMP {name}"));
        assert!(!decide(&backend, &policy, "k", 1).await.is_allowed());
        decide(&backend, &policy, "k", 0).await;
        assert_eq!(server.ask(&format!("DUMP {name}")), before, "{algorithm}");
        assert_eq!(server.ask("FLUSHALL").trim(), "+OK");
    }
}

#[tokio::test]
async fn a_flood_of_patterns_and_braces_stays_in_its_own_keys() {
    let server = Redis::start();
    let backend = backend(&server).await;
    let policy = policy(Algorithm::FixedWindow, "1/h");
    let hostile = ["*", "}:p", "{", "a b", "\r\nFLUSHALL\r\n", "%2a", "\0", "="];
    for key in hostile {
        assert!(
            decide(&backend, &policy, key, 1).await.is_allowed(),
            "{key:?}"
        );
        assert!(
            !decide(&backend, &policy, key, 1).await.is_allowed(),
            "{key:?}"
        );
    }
    assert_eq!(server.ask("DBSIZE").trim(), format!(":{}", hostile.len()));
    // Each of them can be given back its budget without touching another's.
    let key = KeyBuf::of("*");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    backend.reset(&[check]).await.expect("a reset");
    assert_eq!(
        server.ask("DBSIZE").trim(),
        format!(":{}", hostile.len() - 1)
    );
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = Redis::start();
    let backend = backend(&server).await;
    let policy = policy(Algorithm::Gcra, "3/h");
    assert_eq!(decide(&backend, &policy, "k", 1).await.remaining(), 2);
    assert_eq!(server.ask("SCRIPT FLUSH").trim(), "+OK");
    assert_eq!(decide(&backend, &policy, "k", 1).await.remaining(), 1);
    // A cost of zero takes the other script.
    assert_eq!(server.ask("SCRIPT FLUSH").trim(), "+OK");
    assert_eq!(decide(&backend, &policy, "k", 0).await.remaining(), 1);
}

#[tokio::test]
async fn a_state_of_a_later_release_is_not_misread() {
    let server = Redis::start();
    let backend = backend(&server).await;
    let policy = policy(Algorithm::Gcra, "3/h");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    server.ask("SET ratelimit:{t%01k}:p:gcra \"\\x02later\"");
    let error = backend
        .decide(&[check], Join::Each)
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "protocol: the stored state has format 2, and this release reads 1"
    );
}

/// Bytes as `redis-cli` reads them.
fn quoted(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{}\"", bytes.concat())
}

/// A bucket's state of an hour: seconds, nanoseconds, the fraction of one and its denominator.
fn bucket_of_an_hour((s, n, p, q): (u64, u32, u32, u32)) -> Vec<u8> {
    let mut bytes = 3_600_000_000_000_u64.to_be_bytes().to_vec();
    bytes.extend(s.to_be_bytes());
    for part in [n, p, q] {
        bytes.extend(part.to_be_bytes());
    }
    bytes
}

#[tokio::test]
async fn numbers_that_no_state_has_are_said_and_left() {
    let server = Redis::start();
    let backend = backend(&server).await;
    let key = KeyBuf::of("k");
    let impossible = [
        (1, 1_000_000_000, 0, 1),
        (1, u32::MAX, 0, 1),
        (1, 0, 1, 1),
        (1, 0, 7, 0),
        (u64::MAX, 0, 0, 1),
        (18_446_744_074, 0, 0, 1),
    ];
    for algorithm in Algorithm::ALL.into_iter().filter(|it| it.is_bucket()) {
        let name = format!("ratelimit:{{t%01k}}:p:{}", algorithm.name());
        // With one limit and with two there are different scripts, and other limits are looked for elsewhere.
        for limits in ["3/h", "3/h, 9/d", "9/d"] {
            let policy = policy(algorithm, limits);
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            for numbers in impossible {
                let mut state = vec![1, algorithm.number(), 1];
                state.extend(bucket_of_an_hour(numbers));
                server.ask(&format!("SET {name} {}", quoted(&state)));
                let before = server.ask(&format!("DUMP {name}"));
                for join in [Join::Each, Join::All] {
                    let answer = backend.decide(&[check], join).await.remove(0);
                    assert_eq!(
                        answer.expect_err("no state").message(),
                        "the stored state has numbers that no state has",
                        "{algorithm} {limits} {numbers:?}"
                    );
                }
                assert_eq!(server.ask(&format!("DUMP {name}")), before);
            }
            // What follows is no state of a rate either.
            let mut long = vec![1, algorithm.number(), 1];
            long.extend(bucket_of_an_hour((1, 0, 0, 1)));
            long.push(0);
            server.ask(&format!("SET {name} {}", quoted(&long)));
            let answer = backend.decide(&[check], Join::Each).await.remove(0);
            assert_eq!(
                answer.expect_err("no state").message(),
                "something stands behind the stored state"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_state_spoils_nobody_elses_answer() {
    let server = Redis::start();
    let backend = backend(&server).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "2/h");
        let name = format!("ratelimit:{{t%03bad}}:p:{}", algorithm.name());
        let keys = ["good", "bad", "fine"].map(KeyBuf::of);
        let checks: Vec<_> = keys
            .iter()
            .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
            .collect();
        let head = format!("\\x01\\x{:02x}\\x01", algorithm.number());
        for (left, set) in [
            (1, format!("SET {name} x")),
            (0, format!("SET {name} \"{head}\"")),
            (0, format!("SET {name} \"\\x02later\"")),
        ] {
            assert_eq!(server.ask(&set).trim(), "+OK");
            let answers = backend.decide(&checks, Join::Each).await;
            let says: Vec<_> = answers.iter().map(Result::is_ok).collect();
            assert_eq!(says, [true, false, true], "{algorithm} {set} {answers:?}");
            let good = answers[0].as_ref().unwrap();
            assert_eq!(good.remaining(), left, "{algorithm} {set}");
            let peeked = backend.peek(&checks).await;
            assert_eq!(peeked.iter().map(Result::is_ok).collect::<Vec<_>>(), says);
            // Joined, nobody is charged.
            let joined = backend.decide(&checks, Join::All).await;
            assert!(joined[1].is_err(), "{joined:?}");
            assert!(joined.iter().flatten().all(|answer| !answer.is_allowed()));
        }
        server.ask("LPUSH list 1");
        server.ask(&format!("RENAME list {name}"));
        let answers = backend.decide(&checks, Join::Each).await;
        let error = answers[1].as_ref().unwrap_err();
        assert_eq!(
            error.to_string(),
            "protocol: what is stored under the key is no state of ours"
        );
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
        backend.reset(&checks).await.expect("a reset");
        let answers = backend.decide(&checks, Join::All).await;
        assert!(
            answers
                .iter()
                .all(|it| it.as_ref().is_ok_and(Decision::is_allowed))
        );
        server.ask("FLUSHALL");
    }
}

#[tokio::test]
async fn a_key_goes_on_under_limits_that_change() {
    let server = Redis::start();
    let backend = backend(&server).await;
    for algorithm in Algorithm::ALL {
        let (hour, day) = (policy(algorithm, "10/h"), policy(algorithm, "20/d"));
        assert_eq!(decide(&backend, &hour, "k", 4).await.remaining(), 6);
        // It starts from what the other has used, in its own terms.
        let before = decide(&backend, &day, "k", 0).await.remaining();
        assert!(before < 20, "{algorithm}: {before}");
        for spent in 1..=before {
            let left = decide(&backend, &day, "k", 1).await;
            assert!(left.is_allowed(), "{algorithm}");
            assert_eq!(left.remaining(), before - spent, "{algorithm}");
        }
        assert!(!decide(&backend, &day, "k", 1).await.is_allowed());
        assert!(decide(&backend, &hour, "k", 1).await.remaining() <= 6);
        server.ask("FLUSHALL");
    }
}

#[tokio::test]
async fn a_prefix_keeps_budgets_apart_on_one_server() {
    let server = Redis::start();
    let other = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let other = other.prefix("other").connect().await.expect("it is there");
    let policy = policy(Algorithm::FixedWindow, "1/366d");
    for backend in [&backend(&server).await, &other] {
        assert!(decide(backend, &policy, "k", 1).await.is_allowed());
        assert!(!decide(backend, &policy, "k", 1).await.is_allowed());
    }
    let there = server.ask("EXISTS other:{t%01k}:p:fixed_window");
    assert_eq!(there.trim(), ":1");
}
