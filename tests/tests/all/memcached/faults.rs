//! What is said when a server fails or is not as it should be, and that it is used again when it is back.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use ratelimit_backends::memcached::{MemcachedBackend, MemcachedBuilder};
use ratelimit_core::{Backend, ErrorKind};
use ratelimit_tests::servers::faults::Faults;
use ratelimit_tests::servers::memcached::Memcached;
use ratelimit_tests::servers::proxy::{Line, Proxy};
use ratelimit_tests::servers::redis::Redis;

use super::{PATIENCE, ask, policy};

const BOUND: Duration = Duration::from_millis(300);

/// How much later than that an answer may come on a machine that does much else.
const LATE: Duration = Duration::from_secs(2);

fn builder(server: &Memcached) -> MemcachedBuilder {
    MemcachedBackend::builder([server.address()]).timeout(PATIENCE)
}

/// It fails in time, and says why.
async fn fails(backend: &MemcachedBackend, kinds: &[ErrorKind]) {
    let started = Instant::now();
    let decided = ask(backend, &policy("3/366d"), "k").await;
    let error = decided.expect_err("nobody can decide");
    assert!(started.elapsed() < BOUND + LATE, "{error:?}");
    assert!(kinds.contains(&error.kind()), "{error:?}");
    assert!(error.is_temporary(), "{error:?}");
}

/// It decides again, as soon as it may try to.
async fn recovers(backend: &MemcachedBackend) {
    let started = Instant::now();
    while let Err(error) = ask(backend, &policy("3/366d"), "other").await {
        assert!(error.is_temporary(), "{error:?}");
        assert!(started.elapsed() < PATIENCE, "{error:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_is_frozen_killed_and_started_again() {
    let server = Memcached::start();
    let backend = builder(&server).timeout(BOUND).lazy().unwrap();
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
}

#[tokio::test]
async fn a_line_that_breaks() {
    let server = Memcached::start();
    let line = Proxy::before(server.port());
    let backend = MemcachedBackend::builder([format!("127.0.0.1:{}", line.port())]);
    let backend = backend.timeout(BOUND).lazy().unwrap();
    recovers(&backend).await;
    let kinds = [ErrorKind::Connection, ErrorKind::Timeout];
    for broken in [
        Line::Blackhole,
        Line::Reset,
        Line::Refuse,
        Line::CutAfter(0),
        Line::CutAfter(5),
    ] {
        line.set(broken);
        fails(&backend, &kinds).await;
        line.set(Line::Pass);
        recovers(&backend).await;
    }
}

#[tokio::test]
async fn who_comes_first_to_a_server_that_is_not_there_pays_for_the_others() {
    let server = Memcached::start();
    server.kill();
    let backend = builder(&server)
        .back_off(PATIENCE, PATIENCE)
        .lazy()
        .unwrap();
    fails(&backend, &[ErrorKind::Connection]).await;
    server.restart();
    // No attempt is made yet.
    fails(&backend, &[ErrorKind::Connection]).await;
}

#[tokio::test]
async fn what_is_forgotten_is_fresh() {
    let server = Memcached::start();
    let backend = builder(&server).connect().await.unwrap();
    assert!(backend.capabilities().forgets);
    let policy = policy("2/366d");
    let left = async || ask(&backend, &policy, "k").await.unwrap().remaining();
    assert_eq!((left().await, left().await), (1, 0));
    assert!(!ask(&backend, &policy, "k").await.unwrap().is_allowed());
    server.ask("flush_all");
    assert_eq!(left().await, 1);
    server.restart();
    recovers(&backend).await;
    assert_eq!(left().await, 1);
}

#[tokio::test]
async fn memory_that_is_full_evicts_what_was_not_used() {
    // The least that it can do with.
    let server = Memcached::with(&["-m", "2"]);
    let backend = builder(&server).connect().await.unwrap();
    let limits = policy("3/366d");
    let mut keys = 0;
    while server.count("evictions") == 0 {
        for _ in 0..2_000 {
            ask(&backend, &limits, &format!("key {keys}"))
                .await
                .unwrap();
            keys += 1;
        }
        assert!(keys < 500_000, "it does not evict");
    }
    let last = ask(&backend, &limits, &format!("key {}", keys - 1)).await;
    assert_eq!(
        last.unwrap().remaining(),
        1,
        "what was used last is still there"
    );
}

/// What is said at start-up.
async fn says(builder: MemcachedBuilder, kind: ErrorKind, message: &str) {
    let error = builder.connect().await.expect_err("it cannot be used");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.message().contains(message), "{error:?}");
}

#[tokio::test]
async fn what_is_no_memcached() {
    let redis = Redis::start();
    let address = format!("127.0.0.1:{}", redis.port());
    let other = MemcachedBackend::builder([&*address]).timeout(PATIENCE);
    let started = Instant::now();
    says(other.clone(), ErrorKind::Protocol, "is no memcached").await;
    assert!(started.elapsed() < PATIENCE);
    // Who does not ask at start-up is told by the first call.
    let error = ask(&other.lazy().unwrap(), &policy("3/d"), "k")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");

    for (greeting, kind) in [
        (&b"VERSION 1.5.22\r\n"[..], ErrorKind::Unsupported),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ErrorKind::Protocol),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind::Protocol),
        (b"\0\xff\0\xff", ErrorKind::Protocol),
        (b"", ErrorKind::Protocol),
    ] {
        let address = speaks(greeting);
        let builder = MemcachedBackend::builder([&*address]).timeout(BOUND);
        says(builder.clone(), kind, &address).await;
        let error = ask(&builder.lazy().unwrap(), &policy("3/d"), "k").await;
        error.expect_err("nobody can decide");
    }
}

/// A server that says the same to everything, and its address.
fn speaks(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1_000]);
            let _ = stream.write_all(words);
        }
    });
    address
}

#[tokio::test]
async fn answers_that_make_no_sense() {
    for garbage in [
        &b"MN\r\nVA 18446744073709551615 c1\r\n"[..],
        b"MN\r\nVA 1073741824 c1\r\nabc",
        b"MN\r\nVA 5 c1\r\nabc\r\n\r\n\r\n",
        b"MN\r\nVA 3 cx\r\nabc\r\n",
        b"MN\r\nVA 3\r\nabc\r\n",
        b"MN\r\nVA 3 c0\r\nabc\r\n",
        b"MN\r\nHD c7\r\n",
        b"MN\r\nNF\r\n",
        b"MN\r\nwhat?\r\n",
        b"MN\r\nSERVER_ERROR out of memory reading request\r\n",
        b"MN\r\nCLIENT_ERROR unauthenticated\r\n",
    ] {
        let address = speaks(garbage);
        let backend = MemcachedBackend::builder([address]).timeout(BOUND).lazy();
        let backend = backend.unwrap();
        for _ in 0..3 {
            let error = ask(&backend, &policy("3/d"), "k").await.unwrap_err();
            let said = garbage.escape_ascii();
            assert_ne!(error.kind(), ErrorKind::Other, "{said}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_set_up_otherwise() {
    let without = Memcached::with(&["-C"]);
    says(builder(&without), ErrorKind::Configuration, "`-C`").await;
    let lazy = builder(&without).lazy().unwrap();
    let limits = policy("3/d");
    // The first finds nothing, and stores it; who finds that cannot compare.
    ask(&lazy, &limits, "k").await.unwrap();
    let error = ask(&lazy, &limits, "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");

    let small = Memcached::with(&["-I", "64k", "-o", "slab_chunk_max=32768"]);
    says(builder(&small), ErrorKind::Configuration, "lower `max_log`").await;
    let fits = builder(&small).max_log(3_000).connect().await;
    fits.expect("3,000 units fit");

    let nobody = Memcached::start();
    nobody.kill();
    says(builder(&nobody), ErrorKind::Connection, &nobody.address()).await;
}

#[test]
fn options_that_cannot_be() {
    let with = || MemcachedBackend::builder(["cache"]);
    let servers = |servers: &[&str]| MemcachedBackend::builder(servers.iter().copied());
    for (builder, says) in [
        (servers(&[]), "one server at least"),
        (servers(&["cache", "CACHE:11211"]), "named twice"),
        (
            servers(&["memcache://user:secret@cache"]),
            "cannot be logged in",
        ),
        (servers(&["a b"]), "`host:port`"),
        (with().timeout(Duration::ZERO), "a timeout of zero"),
        (
            with().connect_timeout(Duration::ZERO),
            "a connect_timeout of zero",
        ),
        (with().connections(0), "connections is 0"),
        (with().back_off(LATE, BOUND), "upwards"),
        (with().prefix("it's"), "the prefix is"),
        (with().prefix("p".repeat(91)), "90 letters"),
    ] {
        let debug = format!("{builder:?}");
        let error = builder.lazy().expect_err(says);
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
        assert!(error.message().contains(says), "{error:?}");
        assert!(!format!("{error:?}{debug}").contains("secret"), "{error:?}");
    }
}
