//! What is in the store: no key without an expiry, nothing that was not charged, and scripts that come back.

use core::time::Duration;

use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, Backend, Check, Decision, Join, KeyBuf, Policy};
use ratelimit_tests::servers::redis::Redis;

async fn backend(server: &Redis) -> RedisBackend {
    let backend = RedisBackend::builder(server.url()).timeout(Duration::from_secs(10));
    backend.connect().await.expect("it is there")
}

async fn decide(backend: &RedisBackend, policy: &Policy, key: &str, cost: u32) -> Decision {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref()).with_cost(cost);
    let mut answers = backend.decide(&[check], Join::Each).await;
    answers.remove(0).expect("a decision")
}

fn policy(algorithm: Algorithm, limits: &str) -> Policy {
    Policy::named("p".into(), algorithm, limits.parse().unwrap())
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
            left <= reset + 1 && left + 1_000 > reset,
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
    server.ask("LPUSH list 1");
    server.ask("RENAME list ratelimit:{t%01k}:p:gcra");
    let error = backend
        .decide(&[check], Join::Each)
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(error.kind(), ratelimit_core::ErrorKind::Protocol, "{error}");
}
