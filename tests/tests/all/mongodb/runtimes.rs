//! Backends that are asked from several runtimes, by callers that block, and with clients of the user's.

use std::sync::Arc;

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::options::ClientOptions;
use ratelimit_backends::mongodb::MongoBackend;
use ratelimit_core::{Algorithm, Backend, Check, ErrorKind, Join, KeyBuf};
use ratelimit_tests::servers::mongodb::MongoDb;
use tokio::runtime::{Builder, Runtime};

use super::{PATIENCE, admin, policy};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn left(backend: &dyn Backend) -> Option<u32> {
    let policy = policy(Algorithm::TokenBucket, "9/366d");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let answer = backend.decide(&[check], Join::Each).await.remove(0);
    answer.ok().map(|decision| decision.remaining())
}

#[test]
fn it_outlives_the_runtimes_that_ask_it() {
    let server = MongoDb::start();
    let builder = MongoBackend::builder(server.url()).timeout(PATIENCE);
    let backend = builder.connect_blocking().expect("it is there");
    let first = runtime();
    assert_eq!(first.block_on(left(&backend)), Some(8));
    drop(first);
    let (second, third) = (runtime(), runtime());
    for used in [7, 5, 3] {
        assert_eq!(second.block_on(left(&backend)), Some(used));
        assert_eq!(third.block_on(left(&backend)), Some(used - 1));
    }
    // More than are kept.
    for _ in 0..10 {
        runtime().block_on(left(&backend)).expect("a decision");
    }
    second.block_on(backend.close());
    drop(second);
    drop(backend);
}

/// As on a server that has a runtime for each of its threads.
#[test]
fn each_of_many_runtimes_keeps_its_connections() {
    let server = MongoDb::start();
    let backend = MongoBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect_blocking().expect("it is there");
    let runtimes: Vec<_> = (0..20).map(|_| runtime()).collect();
    let asked_by_all = || {
        for runtime in &runtimes {
            runtime.block_on(left(&backend)).expect("a decision");
        }
    };
    let made = || {
        let status = runtime().block_on(async {
            let command = doc! { "serverStatus": 1 };
            admin(&server).await.run_command(command).await
        });
        let status = status.expect("a status");
        let connections = status.get_document("connections").expect("connections");
        connections.get_i32("totalCreated").expect("a number")
    };
    asked_by_all();
    let once = made();
    // What it takes to ask for that number.
    let besides = made() - once;
    let before = made();
    for _ in 0..3 {
        asked_by_all();
    }
    let more = made() - before;
    // A client has two more, which look after its server, and may come late.
    assert!(
        more <= besides + 40,
        "{more} connections more, {besides} of them to ask"
    );
}

#[test]
fn outside_of_a_runtime_it_says_so() {
    let server = MongoDb::start();
    let builder = MongoBackend::builder(server.url()).timeout(PATIENCE);
    let backend = builder.connect_blocking().expect("it is there");
    let policy = policy(Algorithm::TokenBucket, "9/366d");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let checks = [check];
    let mut asked = core::pin::pin!(backend.decide(&checks, Join::Each));
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    let core::task::Poll::Ready(mut answers) = asked.as_mut().poll(&mut context) else {
        panic!("there is nothing to wait for");
    };
    let error = answers.remove(0).expect_err("there is no runtime");
    assert_eq!(error.kind(), ErrorKind::Other, "{error:?}");
}

#[test]
fn callers_that_block_have_their_own_connections() {
    let server = MongoDb::start();
    let callers = runtime();
    let options = callers.block_on(async { ClientOptions::parse(server.url()).await });
    let backend = MongoBackend::with_options(options.unwrap()).timeout(PATIENCE);
    let backend = callers.block_on(backend.connect()).expect("it is there");
    assert_eq!(callers.block_on(left(&backend)), Some(8));
    // Nobody polls the first runtime any more.
    let bridged = backend.bridged().expect("connections of its own");
    assert_eq!(runtime().block_on(left(&*bridged)), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_users() {
    let server = MongoDb::start();
    let client = Client::with_uri_str(server.url()).await.unwrap();
    let backend = MongoBackend::with_client(client.clone()).timeout(PATIENCE);
    let backend = Arc::new(backend.connect().await.expect("it is there"));
    assert!(backend.bridged().is_none(), "a client makes no other");
    assert_eq!(left(&*backend).await, Some(8));
    let other = Arc::clone(&backend);
    let blocking = tokio::task::spawn_blocking(move || runtime().block_on(left(&*other)));
    assert_eq!(blocking.await.unwrap(), Some(7));
    backend.close().await;
    assert_eq!(left(&*backend).await, None);
    let names = client.list_database_names().await;
    assert!(names.unwrap().contains(&"ratelimit".to_owned()));
}
