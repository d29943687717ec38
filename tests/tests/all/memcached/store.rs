//! What is kept in a server, and how often it is asked.

use core::time::Duration;

use ratelimit_backends::memcached::MemcachedBackend;
use ratelimit_core::{
    Adjust, Algorithm, Backend, Check, Clock, ErrorKind, Join, KeyBuf, Policy, SystemClock,
};
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

/// Logs of these periods, of so many units each, as they are stored: one entry for each millisecond of the last minutes.
fn logs(periods: &[Duration], entries: u32) -> Vec<u8> {
    let mut bytes = vec![1, Algorithm::SlidingWindow.number()];
    bytes.push(u8::try_from(periods.len()).unwrap());
    let first = SystemClock.now().as_nanos() / 1_000_000 - 3_600_000;
    for period in periods {
        bytes.extend(u64::try_from(period.as_nanos()).unwrap().to_be_bytes());
        bytes.extend(entries.to_be_bytes());
        bytes.extend(u64::from(entries).to_be_bytes());
        for entry in 0..u64::from(entries) {
            let at = first + entry;
            bytes.extend((at / 1_000).to_be_bytes());
            bytes.extend(u32::try_from(at % 1_000 * 1_000_000).unwrap().to_be_bytes());
            bytes.extend(1_u32.to_be_bytes());
        }
    }
    bytes
}

const DAY: Duration = Duration::from_hours(24);

const LOG: &str = "ratelimit:{t%01k}:p:sliding_window";

#[tokio::test]
async fn the_longest_logs_fit() {
    let server = Started::<1>::new();
    let backend = server.builder().connect().await.unwrap();
    assert_eq!(backend.capabilities().max_log, 8_000);
    // Of the four rates that a policy has at most, and of the four that it had before.
    let periods: Vec<_> = (1..=8).map(|days| DAY * days).collect();
    server.0[0].store(LOG, &logs(&periods, 7_999));
    let policy = policy_of(
        Algorithm::SlidingWindow,
        "8000/d, 8000/2d, 8000/3d, 8000/4d",
    );
    assert_eq!(ask(&backend, &policy, "k").await.unwrap().remaining(), 0);
    assert!(!ask(&backend, &policy, "k").await.unwrap().is_allowed());
}

#[tokio::test]
async fn a_log_that_does_not_fit_is_not_lost() {
    let server = Started::<1>::new();
    let backend = server.builder().max_log(70_000).lazy().unwrap();
    server.0[0].store(LOG, &logs(&[DAY], 65_470));
    let policy = policy_of(Algorithm::SlidingWindow, "70000/d");
    for _ in 0..2 {
        let error = ask(&backend, &policy, "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().contains("lower `max_log`"), "{error:?}");
    }
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let peeked = backend.peek(&[check]).await.remove(0).unwrap();
    assert_eq!(
        peeked.remaining(),
        70_000 - 65_470,
        "what was charged stays charged"
    );
}

/// What a server said of its items is known to whoever asks it, also by connections of his own.
#[test]
fn larger_items_hold_longer_logs() {
    let server = Memcached::with(&["-I", "4m"]);
    let backend = MemcachedBackend::builder([server.address()]).max_log(70_000);
    let backend = backend.timeout(super::PATIENCE).connect_blocking().unwrap();
    server.store(LOG, &logs(&[DAY], 65_470));
    let policy = policy_of(Algorithm::SlidingWindow, "70000/d");
    let bridged = backend.bridged().expect("connections of its own");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (left, backend) in [(4_529, &backend as &dyn Backend), (4_528, &*bridged)] {
        let decision = runtime.block_on(ask(backend, &policy, "k")).unwrap();
        assert_eq!(decision.remaining(), left);
    }
}

#[test]
fn callers_that_block() {
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
        let decision = runtime.block_on(ask(&*bridged, &policy, "k")).unwrap();
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
