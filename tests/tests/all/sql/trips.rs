//! How often a database is asked for a decision, and what becomes of a decision when the line breaks on the way.

use core::time::Duration;
use std::time::Instant;

use ratelimit_backends::sql::SqlBackend;
use ratelimit_core::{
    Algorithm, AlgorithmSet, Answers, Backend, Check, ErrorKind, Join, KeyBuf, Policy, Sweep,
};
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;
use ratelimit_tests::servers::proxy::{Line, Proxy};

use super::PATIENCE;

/// Those that a statement decides.
fn by_statement() -> AlgorithmSet {
    AlgorithmSet::EMPTY
        .with(Algorithm::TokenBucket)
        .with(Algorithm::Gcra)
        .with(Algorithm::LeakyBucket)
        .with(Algorithm::FixedWindow)
        .with(Algorithm::SlidingWindowCounter)
}

async fn decide(backend: &SqlBackend, policy: &Policy, keys: &[String]) -> Answers {
    let keys: Vec<_> = keys.iter().map(|key| KeyBuf::of(&**key)).collect();
    let checks: Vec<_> = keys
        .iter()
        .map(|key| Check::new(policy, policy.limits(), key.as_ref()))
        .collect();
    backend.decide(&checks, Join::Each).await
}

async fn one(backend: &SqlBackend, policy: &Policy) -> bool {
    let answer = decide(backend, policy, &["k".to_owned()]).await.remove(0);
    answer.expect("a decision").is_allowed()
}

/// Decisions that are admitted, that are denied, and a hundred at once: each a trip, as the line counts them and as the server does.
async fn counted(proxy: &Proxy, url: &str, server: impl Fn() -> usize) {
    let backend = SqlBackend::builder(url).timeout(PATIENCE).connect().await;
    let backend = backend.expect("it is there");
    for algorithm in Algorithm::ALL {
        for limits in ["3/366d", "3/365d, 4/366d"] {
            let name = format!("{algorithm}{limits}");
            let policy = Policy::named(name.clone().into(), algorithm, limits.parse().unwrap());
            // The server reads a statement once.
            one(&backend, &policy).await;
            let mut allowed = 0;
            let (turns, asked) = (proxy.turns(), server());
            for _ in 0..8 {
                allowed += u32::from(one(&backend, &policy).await);
            }
            let keys: Vec<_> = (0..100).map(|key| key.to_string()).collect();
            for answer in decide(&backend, &policy, &keys).await {
                assert!(answer.expect("a decision").is_allowed());
            }
            assert_eq!(allowed, 2, "{name}");
            let (turns, asked) = (proxy.turns() - turns, server() - asked);
            if by_statement().contains(algorithm) {
                assert_eq!((turns, asked), (9, 9), "{name}");
            } else {
                // Its state is read, and written.
                assert!(turns <= 9 * 5, "{name}: {turns}");
            }
        }
    }
}

#[tokio::test]
async fn one_decision_is_one_trip_to_postgres() {
    let server = Postgres::with(&["shared_preload_libraries=pg_stat_statements"]);
    server.ask("CREATE EXTENSION pg_stat_statements");
    let proxy = Proxy::before(server.port());
    let url = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    let calls = || {
        let sum = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE '%ratelimit%' \
             AND query NOT LIKE '%pg_stat%'";
        server.ask(sum).parse().unwrap()
    };
    counted(&proxy, &url, calls).await;
}

#[tokio::test]
async fn one_decision_is_one_trip_to_mariadb() {
    let server = MariaDb::start();
    let proxy = Proxy::before(server.port());
    let url = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    let commits = || {
        let says = server.ask("SHOW GLOBAL STATUS LIKE 'Com_commit'");
        let count = says.split_whitespace().nth(1);
        count.expect("a number").parse().unwrap()
    };
    counted(&proxy, &url, commits).await;
}

/// The line breaks somewhere in the answer to each of some decisions: each is charged as a whole or not at all, none holds a lock,
/// and none is admitted above the limit.
async fn broken(proxy: &Proxy, url: &str) {
    let backend = SqlBackend::builder(url).timeout(Duration::from_secs(2));
    let backend = backend
        .back_off(Duration::ZERO, Duration::ZERO)
        .connect()
        .await;
    let backend = backend.expect("it is there");
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let policy = Policy::new("p", algorithm, "30/366d".parse().unwrap());
        let (mut said, mut lost) = (0, 0);
        for cut in (0..400).step_by(20) {
            proxy.set(Line::CutAfter(cut));
            let answer = decide(&backend, &policy, &["k".to_owned()]).await.remove(0);
            match answer {
                Ok(decision) => said += u32::from(decision.is_allowed()),
                Err(error) => {
                    assert!(error.is_temporary(), "{error:?}");
                    let kinds = [ErrorKind::Connection, ErrorKind::Timeout];
                    assert!(kinds.contains(&error.kind()), "{error:?}");
                    lost += 1;
                }
            }
            proxy.set(Line::Pass);
            // It is decided at once: a lock that nobody holds is not waited for.
            let started = Instant::now();
            loop {
                match decide(&backend, &policy, &["other".to_owned()])
                    .await
                    .remove(0)
                {
                    Ok(_) => break,
                    Err(error) => assert!(error.is_temporary(), "{error:?}"),
                }
                assert!(started.elapsed() < PATIENCE);
            }
        }
        assert!(lost > 0, "{algorithm}: nothing was lost");
        while one(&backend, &policy).await {
            said += 1;
        }
        assert!(
            said <= 30 && said + lost >= 30,
            "{algorithm}: {said} admitted, {lost} lost"
        );
    }
}

#[tokio::test]
async fn postgres_is_lost_in_the_middle() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port());
    let url = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    broken(&proxy, &url).await;
}

#[tokio::test]
async fn mariadb_is_lost_in_the_middle() {
    let server = MariaDb::start();
    let proxy = Proxy::before(server.port());
    let url = server
        .url()
        .replace(&server.port().to_string(), &proxy.port().to_string());
    broken(&proxy, &url).await;
}

/// A server that reads statements in other ways than usual decides the same.
#[tokio::test]
async fn statements_mean_the_same_in_every_mode() {
    let mode = "--sql-mode=SIMULTANEOUS_ASSIGNMENT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,PIPES_AS_CONCAT";
    let server = MariaDb::with(&[mode]);
    let backend = SqlBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await.expect("it is there");
    for algorithm in Algorithm::ALL {
        for limits in ["3/366d", "3/365d, 4/366d"] {
            let name = format!("{algorithm}{limits}");
            let policy = Policy::named(name.clone().into(), algorithm, limits.parse().unwrap());
            let mut allowed = 0;
            for _ in 0..8 {
                allowed += u32::from(one(&backend, &policy).await);
            }
            assert_eq!(allowed, 3, "{name}");
        }
    }
    let counted = backend.sweep(Sweep::new().with_dry_run(true)).await;
    assert_eq!(counted.unwrap().removed, 0, "all of it is in use");
}
