//! What is said when the server is not there, is another, or refuses; and that calls go on when it is back.

use core::time::Duration;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use ratelimit::{Ask, Registry};
use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, ErrorKind, Policy};
use ratelimit_tests::servers::redis::Redis;

const SHORT: Duration = Duration::from_millis(500);

async fn refused(url: &str) -> ratelimit_core::Error {
    let started = Instant::now();
    let backend = RedisBackend::builder(url).timeout(SHORT).connect().await;
    assert!(started.elapsed() < 10 * SHORT, "it gives up in time");
    backend.expect_err("nothing to connect to")
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    // It accepts, and never answers.
    let error = refused(&format!("redis://127.0.0.1:{port}/")).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    drop(free);
    let error = refused(&format!("redis://127.0.0.1:{port}/")).await;
    assert!(error.is_temporary(), "{error:?}");
}

#[tokio::test]
async fn a_url_that_is_none_and_a_password_that_is_wrong() {
    let error = refused("postgres://user:secret@host/").await;
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        !format!("{error} {error:?}").contains("secret"),
        "{error:?}"
    );

    let server = Redis::start();
    assert_eq!(server.ask("CONFIG SET requirepass right").trim(), "+OK");
    let error = refused(&server.url()).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let wrong = server.url().replace("redis://", "redis://:secret@");
    let error = refused(&wrong).await;
    assert!(
        !format!("{error} {error:?}").contains("secret"),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let right = server.url().replace("redis://", "redis://:right@");
    let backend = RedisBackend::builder(right)
        .timeout(10 * SHORT)
        .connect()
        .await;
    assert!(!format!("{:?}", backend.expect("it is right")).contains("right@"));
}

#[test]
fn blocking_callers_have_connections_of_their_own() {
    let server = Redis::start();
    let policy = Policy::new("blocking", Algorithm::TokenBucket, "100/h".parse().unwrap());
    let lazy = RedisBackend::builder(server.url())
        .timeout(20 * SHORT)
        .lazy();
    let registry = Registry::builder()
        .backend("redis", lazy.expect("the URL is one"))
        .default_backend("redis")
        .build()
        .expect("no faults");
    let registry = Arc::new(registry);
    let ask = |registry: &Registry| {
        registry
            .ask_blocking(&Ask::new(&policy, "k"))
            .map(|it| it.remaining())
    };
    assert_eq!(ask(&registry).unwrap(), 99, "from a plain thread");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(ask(&registry).unwrap(), 98, "from inside a runtime");
        let decision = registry.ask(&Ask::new(&policy, "k")).await.unwrap();
        assert_eq!(decision.remaining(), 97, "on the runtime itself");
    });
    // Connections that were cut are made anew.
    server.ask("CLIENT KILL TYPE normal");
    let again = (0..50).find_map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        ask(&registry).ok()
    });
    assert!(again.is_some_and(|left| left <= 96), "{again:?}");
}
