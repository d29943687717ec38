//! What is kept in a server, and how often it is asked.

use core::time::Duration;

use ratelimit_core::{Adjust, Algorithm, Backend, Check, ErrorKind, Join, KeyBuf, Policy};
use ratelimit_tests::servers::memcached::Memcached;

use super::{Started, ask, policy, policy_of};

/// What the server has been asked for since the last time.
struct Counted<'s>(&'s Memcached, [u64; 3]);

impl<'s> Counted<'s> {
    fn new(server: &'s Memcached) -> Self {
        let mut counted = Self(server, [0; 3]);
        counted.more();
        counted
    }

    /// Loads, stores, and deletions.
    fn more(&mut self) -> [u64; 3] {
        let Self(server, before) = self;
        let deletions = server.count("delete_hits") + server.count("delete_misses");
        let now = [server.count("cmd_get"), server.count("cmd_set"), deletions];
        let more = core::array::from_fn(|one| now[one] - before[one]);
        *before = now;
        more
    }
}

#[tokio::test]
async fn two_trips_are_a_decision_and_one_is_a_denial() {
    let server = Started::<1>::new();
    let backend = server.builder().connect().await.unwrap();
    for algorithm in Algorithm::ALL {
        let policy = policy_of(algorithm, "2/366d, 3/365d");
        let mut counted = Counted::new(&server.0[0]);
        for expected in [[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]] {
            ask(&backend, &policy, "k").await.unwrap();
            assert_eq!(counted.more(), expected, "{algorithm}");
        }
        let key = KeyBuf::of("k");
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        backend.peek(&[check]).await.remove(0).unwrap();
        assert_eq!(counted.more(), [1, 0, 0], "{algorithm}");
        // Whatever is asked of one key is.
        let other = KeyBuf::of("other");
        let other = Check::new(&policy, policy.limits(), other.as_ref());
        backend.decide(&[other; 20], Join::Each).await;
        assert_eq!(counted.more(), [1, 1, 0], "{algorithm}");
    }
}

#[tokio::test]
async fn all_that_was_charged_is_given_back() {
    let server = Started::<1>::new();
    let backend = server.builder().connect().await.unwrap();
    let policy = policy("2/h");
    let decision = ask(&backend, &policy, "k").await.unwrap();
    assert_eq!(server.0[0].count("curr_items"), 1);
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let refund = Adjust::refund(check, decision.charge().clone());
    backend.adjust(&[refund]).await.remove(0).unwrap();
    assert_eq!(server.0[0].count("curr_items"), 0);
    ask(&backend, &policy, "k").await.unwrap();
    backend.reset(&[check]).await.unwrap();
    backend.reset(&[check]).await.unwrap();
    assert_eq!(server.0[0].count("curr_items"), 0);
}

/// For how long the server keeps the key, in seconds.
fn ttl(server: &Memcached, name: &str) -> u64 {
    let said = server.ask(&format!("mg {name} t"));
    let ttl = said.trim_end().strip_prefix("HD t");
    ttl.and_then(|it| it.parse().ok())
        .unwrap_or_else(|| panic!("{said}"))
}

#[tokio::test]
async fn keys_are_kept_for_as_long_as_they_are_in_use() {
    let server = Started::<1>::new();
    let backend = server.builder().connect().await.unwrap();
    let day = 86_400;
    for (limits, seconds) in [
        ("1/ms", 1),
        ("1/m", 60),
        ("1/30d", 30 * day),
        // From here on it is told until when.
        ("1/31d", 31 * day),
        ("1/366d", 366 * day),
    ] {
        let policy = policy(limits);
        assert!(ask(&backend, &policy, limits).await.unwrap().is_allowed());
        let key = format!(
            "ratelimit:{{t%{:02x}{}}}:p:token_bucket",
            limits.len(),
            limits.replace('/', "%2f")
        );
        let ttl = ttl(&server.0[0], &key);
        assert!((seconds..=seconds + 4).contains(&ttl), "{limits}: {ttl}");
    }
}

#[tokio::test]
async fn what_is_not_ours_stays() {
    let server = Started::<1>::new();
    let backend = server.builder().connect().await.unwrap();
    let set = "ms ratelimit:{t%01k}:p:token_bucket 8 T0\r\nno state";
    assert_eq!(server.0[0].ask(set).trim_end(), "HD");
    let policy = policy("2/h");
    let error = ask(&backend, &policy, "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
    let said = server.0[0].ask("mg ratelimit:{t%01k}:p:token_bucket v");
    assert_eq!(said.trim_end(), "VA 8\r\nno state");
}

#[tokio::test]
async fn keys_of_any_length_and_any_bytes() {
    let server = Started::<1>::new();
    let prefix = "p".repeat(90);
    let backend = server.builder().prefix(prefix).connect().await.unwrap();
    let names = [
        "",
        "plain",
        "a b\r\nflush_all\r\n",
        "\0\u{7f}é",
        &"long ".repeat(10_000),
    ];
    for policy in names.map(|name| {
        let limits = "1/h".parse().unwrap();
        Policy::named(
            name.to_owned().into(),
            Algorithm::SlidingWindowCounter,
            limits,
        )
    }) {
        for key in names {
            assert!(ask(&backend, &policy, key).await.unwrap().is_allowed());
            assert!(!ask(&backend, &policy, key).await.unwrap().is_allowed());
        }
    }
    assert_eq!(server.0[0].count("curr_items"), 25);
}

#[tokio::test]
async fn the_longest_log_fits_and_one_that_does_not_is_not_lost() {
    let server = Started::<1>::new();
    let backend = server.builder().connect().await.unwrap();
    let longest = backend.capabilities().max_log;
    assert_eq!(longest, 8_000);
    // Logs of four rates, and of four more that the key had before.
    let limits = |days: [u32; 4]| {
        let rates = days.map(|days| format!("{longest}/{days}d"));
        policy_of(Algorithm::SlidingWindow, &rates.join(", "))
    };
    let key = KeyBuf::of("k");
    for policy in [limits([101, 102, 103, 104]), limits([201, 202, 203, 204])] {
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        let answers = backend.decide(&vec![check; 8_001], Join::Each).await;
        let admitted = answers.iter().map(|it| it.as_ref().unwrap().is_allowed());
        let admitted = admitted.filter(|it| *it).count();
        assert!(admitted == 8_000 || admitted == 0, "{admitted}");
    }

    let backend = server.builder().max_log(60_000).connect().await.unwrap();
    let policy = policy_of(Algorithm::SlidingWindow, "60000/d, 60000/w");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let mut admitted = 0;
    let error = loop {
        let answers = backend.decide(&vec![check; 512], Join::Each).await;
        match answers.into_iter().find_map(Result::err) {
            Some(error) => break error,
            None => admitted += 512,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.message().contains("lower `max_log`"), "{error:?}");
    let left = backend.peek(&[check]).await.remove(0).unwrap().remaining();
    assert_eq!(
        left,
        60_000 - admitted - 1,
        "what was charged stays charged"
    );
}

#[test]
fn callers_that_block() {
    use ratelimit_backends::memcached::MemcachedBackend;
    let server = Memcached::start();
    let backend = MemcachedBackend::connect_blocking([server.address()]).unwrap();
    let pong = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(backend.ping());
    assert!(
        pong.unwrap()
            .version
            .is_some_and(|it| it.starts_with("1.6"))
    );
    let bridged = backend.bridged().expect("connections of its own");
    let policy = policy("2/h");
    for left in [1, 0] {
        // Connections do not outlive the runtime that they were made on.
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut tries = 0;
        let decision = loop {
            match runtime.block_on(ask(&*bridged, &policy, "k")) {
                Ok(decision) => break decision,
                Err(error) if error.is_temporary() && tries < 100 => tries += 1,
                Err(error) => panic!("{error:?}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(decision.remaining(), left);
    }
    // Outside of any runtime, it says so.
    let fresh = MemcachedBackend::builder([server.address()])
        .lazy()
        .unwrap();
    let mut decided = core::pin::pin!(async { ask(&fresh, &policy, "k").await });
    let waker = core::task::Waker::noop();
    let mut context = core::task::Context::from_waker(waker);
    let core::task::Poll::Ready(decided) = decided.as_mut().poll(&mut context) else {
        panic!("it waits for nobody");
    };
    assert_eq!(decided.unwrap_err().kind(), ErrorKind::Other);
}
