//! The memory backend's own promises: bounds, overflow, batches, threads. The answers themselves
//! are the arithmetic's.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use ratelimit_core::{
    Adjust, Algorithm, Backend, Check, ErrorKind, Join, KeyBuf, Limits, ManualClock, Policy, Sweep,
};

use super::MemoryBackend;

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory backend waits for nobody"),
    }
}

fn policy(algorithm: Algorithm, limits: &str) -> Policy {
    Policy::named("p".into(), algorithm, limits.parse().unwrap())
}

fn backend(max_keys: usize) -> (MemoryBackend, ManualClock) {
    let clock = ManualClock::new();
    (
        MemoryBackend::builder()
            .clock(clock.clone())
            .max_keys(max_keys)
            .build(),
        clock,
    )
}

/// Whether one unit is admitted.
fn admit(backend: &MemoryBackend, policy: &Policy, key: &str) -> bool {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref());
    backend.decide_now(&check).unwrap().unwrap().is_allowed()
}

fn remaining(backend: &MemoryBackend, policy: &Policy, key: &str) -> u32 {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref());
    now(backend.peek(&[check])).remove(0).unwrap().remaining()
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn expired_keys_make_room_in_passing() {
    for algorithm in Algorithm::ALL {
        let (backend, clock) = backend(10);
        let policy = policy(algorithm, "1/m");
        for round in 0..100 {
            for key in 0..10 {
                assert!(
                    admit(&backend, &policy, &format!("{round}-{key}")),
                    "{algorithm}"
                );
            }
            assert!(backend.keys() <= 10, "{algorithm}");
            clock.advance(2 * MINUTE);
        }
    }
}

#[test]
fn a_flood_neither_grows_memory_nor_frees_a_denied_key() {
    let (backend, clock) = backend(100);
    let policy = policy(Algorithm::TokenBucket, "1/h");
    assert!(admit(&backend, &policy, "denied"));
    for index in 0..10_000 {
        admit(&backend, &policy, &format!("flood-{index}"));
        assert!(!admit(&backend, &policy, "denied"));
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(backend.keys(), 100);
}

#[test]
fn without_room_new_keys_share_one_bucket_per_policy() {
    let (backend, clock) = backend(2);
    let one = policy(Algorithm::FixedWindow, "3/m");
    let other = Policy::named("other".into(), one.algorithm(), *one.limits());
    assert!(admit(&backend, &one, "a"));
    assert!(admit(&backend, &one, "b"));
    // c, d and e find no room: three units for all of them.
    assert!(admit(&backend, &one, "c"));
    assert!(admit(&backend, &one, "d"));
    assert!(admit(&backend, &one, "c"));
    assert!(!admit(&backend, &one, "e"));
    assert!(!admit(&backend, &one, "c"));
    assert!(admit(&backend, &other, "c"), "the bucket is the policy's");
    assert!(admit(&backend, &one, "a"), "kept keys have their own");
    clock.advance(MINUTE);
    assert!(admit(&backend, &one, "e"), "the next window");
    assert_eq!(remaining(&backend, &one, "e"), 2);
}

#[test]
fn a_key_that_finds_room_again_starts_with_what_the_overflow_has_used() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .clock(clock.clone())
        .max_keys(1)
        .build();
    let short = policy(Algorithm::FixedWindow, "1/s");
    let long = Policy::named(
        "long".into(),
        Algorithm::FixedWindow,
        "3/m".parse().unwrap(),
    );
    assert!(admit(&backend, &short, "fills the backend"));
    assert!(admit(&backend, &long, "c"));
    assert!(admit(&backend, &long, "c"));
    clock.advance(Duration::from_secs(2));
    // There is room now; a fresh budget would admit three more.
    assert!(admit(&backend, &long, "c"));
    assert!(!admit(&backend, &long, "c"));
    // The backend is full again: d shares what is left of the overflow bucket.
    assert!(admit(&backend, &long, "d"));
    assert!(!admit(&backend, &long, "d"));
    clock.advance(MINUTE);
    assert_eq!(remaining(&backend, &long, "c"), 3);
}

#[test]
fn a_refunded_key_makes_room_like_any_fresh_one() {
    let (backend, _clock) = backend(1);
    let policy = policy(Algorithm::TokenBucket, "2/h");
    let (a, b) = (KeyBuf::of("a"), KeyBuf::of("b"));
    let check = Check::new(&policy, policy.limits(), a.as_ref());
    let charge = backend
        .decide_now(&check)
        .unwrap()
        .unwrap()
        .charge()
        .clone();
    now(backend.adjust(&[Adjust::refund(check, charge)]))
        .remove(0)
        .unwrap();
    let check = Check::new(&policy, policy.limits(), b.as_ref());
    backend.decide_now(&check).unwrap().unwrap();
    assert_eq!(backend.keys(), 1);
    assert_eq!(
        remaining(&backend, &policy, "a"),
        2,
        "a is fresh, and not in the overflow"
    );
}

#[test]
fn the_bound_holds_for_every_size() {
    for max_keys in [1, 2, 7, 100, 4_096, 9_999] {
        let (backend, _clock) = backend(max_keys);
        let policy = policy(Algorithm::FixedWindow, "1/h");
        for key in 0..2 * max_keys + 10 {
            admit(&backend, &policy, &key.to_string());
        }
        assert!(
            backend.keys() <= max_keys,
            "{} of {max_keys}",
            backend.keys()
        );
        assert!(
            backend.keys() > max_keys * 9 / 10,
            "{} of {max_keys}",
            backend.keys()
        );
    }
}

#[test]
fn a_joined_batch_charges_all_or_none() {
    for algorithm in Algorithm::ALL {
        let (backend, _clock) = backend(100_000);
        let policy = policy(algorithm, "3/h");
        let keys: Vec<_> = (0..20).map(|key| KeyBuf::of(&key)).collect();
        let checks: Vec<_> = keys
            .iter()
            .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
            .collect();
        // The last one has one unit left only.
        let last = checks[19].with_cost(2);
        backend.decide_now(&last).unwrap().unwrap();
        let answers = now(backend.decide(&checks, Join::All));
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap().is_allowed())
        );
        let answers = now(backend.decide(&checks, Join::All));
        for (index, answer) in answers.iter().enumerate() {
            let decision = answer.as_ref().unwrap();
            assert!(!decision.is_allowed(), "{algorithm}");
            assert_eq!(decision.retry_after().is_zero(), index != 19, "{algorithm}");
            assert_eq!(
                decision.remaining(),
                if index == 19 { 0 } else { 2 },
                "{algorithm}"
            );
        }
    }
}

#[test]
fn a_joined_batch_counts_its_own_checks_of_one_key() {
    let (backend, _clock) = backend(10);
    let policy = policy(Algorithm::SlidingWindow, "3/h");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let twice = [check.with_cost(2), check.with_cost(2)];
    let answers = now(backend.decide(&twice, Join::All));
    assert!(
        answers
            .iter()
            .all(|answer| !answer.as_ref().unwrap().is_allowed())
    );
    assert!(!answers[1].as_ref().unwrap().retry_after().is_zero());
    assert_eq!(backend.keys(), 0, "nothing was charged");
    let answers = now(backend.decide(&twice, Join::Each));
    assert!(answers[0].as_ref().unwrap().is_allowed());
    assert!(!answers[1].as_ref().unwrap().is_allowed());
}

#[test]
fn a_joined_batch_gives_back_what_it_took_from_the_overflow() {
    let (backend, _clock) = backend(1);
    let policy = policy(Algorithm::FixedWindow, "2/h");
    assert!(admit(&backend, &policy, "fills the backend"));
    let (b, c) = (KeyBuf::of("b"), KeyBuf::of("c"));
    let check = |key: &'static str| if key == "b" { b.as_ref() } else { c.as_ref() };
    let checks = [
        Check::new(&policy, policy.limits(), check("b")).with_cost(1),
        Check::new(&policy, policy.limits(), check("c")).with_cost(2),
    ];
    let answers = now(backend.decide(&checks, Join::All));
    assert!(
        answers
            .iter()
            .all(|answer| !answer.as_ref().unwrap().is_allowed())
    );
    assert!(admit(&backend, &policy, "b"));
    assert!(admit(&backend, &policy, "c"));
    assert!(!admit(&backend, &policy, "d"));
}

#[test]
fn what_can_never_be_decided_is_an_error_and_charges_nothing() {
    let (backend, _clock) = backend(10);
    let policy = policy(Algorithm::SlidingWindow, "3/h");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let error = backend
        .decide_now(&check.with_cost(4))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsatisfiable);
    let answers = now(backend.decide(&[check, check.with_cost(4)], Join::All));
    assert!(!answers[0].as_ref().unwrap().is_allowed());
    assert_eq!(
        answers[1].as_ref().unwrap_err().kind(),
        ErrorKind::Unsatisfiable
    );
    let long: Limits = "10001/h".parse().unwrap();
    let error = backend
        .decide_now(&Check::new(&policy, &long, key.as_ref()))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("sliding_window_counter"),
        "{error}"
    );
    assert_eq!(backend.keys(), 0);
    now(backend.close());
    assert_eq!(
        backend.decide_now(&check).unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(now(backend.ping()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_sweep_removes_what_a_dry_run_counts() {
    let (backend, clock) = backend(100_000);
    let short = policy(Algorithm::TokenBucket, "1/m");
    let long = policy(Algorithm::FixedWindow, "1/d");
    for key in 0..500 {
        admit(&backend, &short, &key.to_string());
    }
    for key in 0..30 {
        admit(&backend, &long, &key.to_string());
    }
    clock.advance(2 * MINUTE);
    let counted = now(backend.sweep(Sweep::new().with_dry_run(true))).unwrap();
    assert_eq!((counted.removed, counted.kept), (500, 30));
    assert_eq!(backend.keys(), 530);
    let swept = now(backend.sweep(Sweep::new().with_batch(7))).unwrap();
    assert_eq!(swept, counted);
    assert_eq!(now(backend.ping()).unwrap().keys, Some(30));
}

#[test]
fn resets_are_forgotten_by_the_queue_too() {
    let (backend, _clock) = backend(10);
    let policy = policy(Algorithm::FixedWindow, "1/d");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    for _ in 0..100_000 {
        assert!(backend.decide_now(&check).unwrap().unwrap().is_allowed());
        now(backend.reset(&[check])).unwrap();
    }
    assert_eq!(backend.keys(), 0);
    assert!(
        backend.engine.queued() < 10_000,
        "{}",
        backend.engine.queued()
    );
}

#[test]
fn a_clock_that_steps_back_neither_grants_nor_locks_out() {
    for algorithm in Algorithm::ALL {
        let (backend, clock) = backend(10);
        let policy = policy(algorithm, "2/m");
        assert!(admit(&backend, &policy, "k") && admit(&backend, &policy, "k"));
        clock.step_back(Duration::from_hours(1));
        assert!(!admit(&backend, &policy, "k"), "{algorithm}");
        clock.advance(2 * MINUTE);
        assert!(admit(&backend, &policy, "k"), "{algorithm}");
    }
}

#[test]
fn exactly_the_limit_is_admitted_by_any_number_of_threads() {
    for algorithm in Algorithm::ALL {
        let (backend, _clock) = backend(10_000);
        let policy = policy(algorithm, "100/h, 100/d");
        let admitted: usize = thread::scope(|scope| {
            let work = || (0..50).filter(|_| admit(&backend, &policy, "hot")).count();
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(admitted, 100, "{algorithm}");
    }
}

#[test]
fn joined_batches_of_crossing_keys_do_not_deadlock() {
    let (backend, _clock) = backend(100_000);
    let policy = policy(Algorithm::TokenBucket, "1000/h");
    let keys: Vec<_> = (0..50).map(|key| KeyBuf::of(&key)).collect();
    let rounds = 100;
    let admitted: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (backend, policy, keys) = (&backend, &policy, &keys);
                scope.spawn(move || {
                    let mut checks: Vec<_> = keys
                        .iter()
                        .map(|key| Check::new(policy, policy.limits(), key.as_ref()))
                        .collect();
                    if thread % 2 == 0 {
                        checks.reverse();
                    }
                    let all = || now(backend.decide(&checks, Join::All));
                    (0..rounds)
                        .filter(|_| all()[0].as_ref().unwrap().is_allowed())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 800);
    assert_eq!(remaining(&backend, &policy, "none of them"), 1000);
    let check = Check::new(&policy, policy.limits(), keys[7].as_ref());
    assert_eq!(
        now(backend.peek(&[check])).remove(0).unwrap().remaining(),
        200
    );
}

/// What is logged meanwhile, a line each.
fn logged(work: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Lines(Arc::clone(&lines)))
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let lines = lines.lock().unwrap();
    let text = String::from_utf8(lines.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[test]
fn the_overflow_is_logged_once_a_minute_for_each_policy() {
    let (backend, clock) = backend(1);
    let one = policy(Algorithm::FixedWindow, "1/d");
    let other = Policy::named("other".into(), one.algorithm(), *one.limits());
    let flood = |policy: &Policy| {
        for key in 0..100 {
            admit(&backend, policy, &key.to_string());
        }
    };
    let lines = logged(|| flood(&one));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in ["WARN", "policy=\"p\"", "max_keys=1", "share one bucket"] {
        assert!(lines[0].contains(part), "{lines:#?}");
    }
    assert_eq!(logged(|| flood(&other)).len(), 1);
    clock.advance(Duration::from_secs(59));
    assert_eq!(logged(|| flood(&one)).len(), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(logged(|| flood(&one)).len(), 1);
}
