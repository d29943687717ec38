//! What is said when a server fails, and that it is used again when it is back.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use mongodb::bson::{Document, doc};
use ratelimit_backends::mongodb::MongoBackend;
use ratelimit_core::{Algorithm, Backend, Check, Error, ErrorKind, Join, KeyBuf};
use ratelimit_tests::servers::faults::Faults;
use ratelimit_tests::servers::mongodb::MongoDb;
use ratelimit_tests::servers::proxy::{Line, Proxy};

use crate::lines;

use super::{PATIENCE, admin, connected, decide, policy};

const BOUND: Duration = Duration::from_millis(500);

/// How much later than that an answer may come on a machine that does much else.
const LATE: Duration = Duration::from_secs(2);

async fn ask(backend: &MongoBackend, key: &str) -> Result<bool, Error> {
    let policy = policy(Algorithm::TokenBucket, "3/366d");
    let decision = decide(backend, &policy, key, 1).await?;
    Ok(decision.is_allowed())
}

/// It fails in time, and says why.
async fn fails(backend: &MongoBackend, kinds: &[ErrorKind]) {
    let started = Instant::now();
    let error = ask(backend, "k").await.expect_err("nobody can decide");
    assert!(started.elapsed() < BOUND + LATE, "{error:?}");
    assert!(kinds.contains(&error.kind()), "{error:?}");
    assert!(error.is_temporary(), "{error:?}");
}

/// It decides again, as soon as it may try to.
async fn recovers(backend: &MongoBackend) {
    let started = Instant::now();
    while let Err(error) = ask(backend, "other").await {
        assert!(error.is_temporary(), "{error:?}");
        assert!(started.elapsed() < PATIENCE, "{error:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_is_frozen_killed_and_started_again() {
    let server = MongoDb::start();
    let backend = MongoBackend::builder(server.url()).timeout(BOUND);
    let backend = backend.connect_timeout(BOUND).lazy().unwrap();
    recovers(&backend).await;

    server.freeze();
    fails(&backend, &[ErrorKind::Timeout]).await;
    fails(&backend, &[ErrorKind::Timeout]).await;
    server.thaw();
    recovers(&backend).await;

    server.kill();
    let kinds = [ErrorKind::Connection, ErrorKind::Timeout];
    fails(&backend, &kinds).await;
    fails(&backend, &kinds).await;
    server.restart();
    recovers(&backend).await;
    backend.close().await;
}

#[tokio::test]
async fn a_line_that_breaks() {
    let server = MongoDb::start();
    let line = Proxy::before(server.port());
    let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", line.port());
    let backend = MongoBackend::builder(url).timeout(BOUND);
    let backend = backend.connect_timeout(BOUND).lazy().unwrap();
    recovers(&backend).await;
    for broken in [
        Line::Blackhole,
        Line::Reset,
        Line::Refuse,
        Line::CutAfter(0),
        Line::CutAfter(5),
    ] {
        line.set(broken);
        fails(&backend, &[ErrorKind::Connection, ErrorKind::Timeout]).await;
        line.set(Line::Pass);
        recovers(&backend).await;
    }
    backend.close().await;
}

/// Lines break and are mended all the time: an answer that is lost may be charged, and none is admitted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_lines_break_no_call_too_many_is_admitted() {
    let server = MongoDb::start();
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let policy = Arc::new(policy(algorithm, "300/366d"));
        let all = lines::while_they_break(server.port(), 24, 37, &policy, |port| {
            let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
            Arc::new(MongoBackend::builder(url).timeout(BOUND).lazy().unwrap())
        });
        let lines::Outcome { admitted, failed } = all.await;
        assert!(failed > 0, "nothing failed");
        assert!(admitted <= 300, "{algorithm}: {admitted} were admitted");
        let backend = connected(&server).await;
        let left = decide(&backend, &policy, "k", 0).await;
        let left = left.expect("a decision").remaining();
        assert!(admitted + left <= 300, "{algorithm}: {admitted} and {left}");
    }
}

/// The only node of a set is told to leave it to others to write.
#[tokio::test]
async fn a_server_that_no_longer_writes() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    assert_eq!(ask(&backend, "k").await.ok(), Some(true));
    let admin = admin(&server).await;
    let down = doc! { "replSetStepDown": 3600, "secondaryCatchUpPeriodSecs": 0, "force": true };
    admin.run_command(down).await.expect("it steps down");
    let short = MongoBackend::builder(server.url()).timeout(BOUND);
    let short = short.lazy().unwrap();
    fails(&short, &[ErrorKind::Connection, ErrorKind::Timeout]).await;
    let refused = MongoBackend::builder(server.url()).timeout(PATIENCE);
    let error = refused.connect().await.expect_err("it is a secondary");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.message().contains("secondary"), "{error:?}");
    let up = doc! { "replSetFreeze": 0 };
    admin.run_command(up).await.expect("it may write again");
    recovers(&short).await;
    assert_eq!(ask(&backend, "k").await.ok(), Some(true));
}

/// Lets the next so many of these commands fail.
async fn fail(server: &MongoDb, times: i32, data: Document) {
    let command = doc! {
        "configureFailPoint": "failCommand",
        "mode": { "times": times },
        "data": data,
    };
    admin(server)
        .await
        .run_command(command)
        .await
        .expect("a fail point");
}

#[tokio::test]
async fn commands_that_fail() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    for (code, kind) in [
        (13, ErrorKind::Refused),
        (50, ErrorKind::Timeout),
        (91, ErrorKind::Connection),
        (11_602, ErrorKind::Connection),
        (14_031, ErrorKind::Refused),
        (9, ErrorKind::Protocol),
    ] {
        fail(
            &server,
            1,
            doc! { "failCommands": ["findAndModify"], "errorCode": code },
        )
        .await;
        let error = ask(&backend, "k").await.expect_err("it fails");
        assert_eq!(error.kind(), kind, "{code}: {error:?}");
    }
    let broken = doc! { "failCommands": ["findAndModify"], "closeConnection": true };
    fail(&server, 1, broken).await;
    let error = ask(&backend, "k").await.expect_err("it hangs up");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    // None of these was charged.
    for allowed in [true, true, true, false] {
        assert_eq!(ask(&backend, "k").await.ok(), Some(allowed));
    }
}

/// Somebody else has added the key, and the like.
fn overtaken(code: i32) -> Document {
    doc! {
        "failCommands": ["findAndModify"],
        "errorCode": code,
        "errorExtraInfo": { "keyPattern": { "_id": 1 }, "keyValue": { "_id": "k" } },
    }
}

/// What was surely not done is asked again: somebody else added the key, or the server was not the one that writes.
#[tokio::test]
async fn commands_that_are_asked_again() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    for code in [11_000, 112, 10_107, 13_435] {
        let key = format!("k{code}");
        fail(&server, 2, overtaken(code)).await;
        for allowed in [true, true, true, false] {
            let answer = ask(&backend, &key).await;
            assert_eq!(answer.as_ref().ok(), Some(&allowed), "{code}: {answer:?}");
        }
    }
    // Not for ever.
    fail(&server, 1_000, overtaken(11_000)).await;
    let error = ask(&backend, "k").await.expect_err("always overtaken");
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
    assert!(error.is_temporary());
}

#[tokio::test]
async fn a_batch_of_which_the_second_command_fails() {
    let server = MongoDb::start();
    let backend = MongoBackend::builder(server.url()).in_flight(1);
    let backend = backend
        .timeout(PATIENCE)
        .connect()
        .await
        .expect("it is there");
    let policy = policy(Algorithm::TokenBucket, "3/366d");
    let keys: Vec<_> = (0..5).map(|key| KeyBuf::of(&key)).collect();
    let checks: Vec<_> = keys
        .iter()
        .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
        .collect();
    fail(
        &server,
        5,
        doc! { "failCommands": ["update"], "errorCode": 91 },
    )
    .await;
    for answer in backend.decide(&checks, Join::Each).await {
        assert_eq!(
            answer.map_err(|it| it.kind()).err(),
            Some(ErrorKind::Connection)
        );
    }
    let off = doc! { "configureFailPoint": "failCommand", "mode": "off" };
    admin(&server)
        .await
        .run_command(off)
        .await
        .expect("it is off");
    for peeked in backend.peek(&checks).await {
        assert_eq!(peeked.expect("a decision").remaining(), 3);
    }
    // A write that is not as durable as asked was done, but nobody can say that it stays.
    let late = doc! {
        "failCommands": ["update"],
        "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" },
    };
    fail(&server, 5, late).await;
    for answer in backend.decide(&checks, Join::Each).await {
        assert_eq!(
            answer.map_err(|it| it.kind()).err(),
            Some(ErrorKind::Timeout)
        );
    }
}
