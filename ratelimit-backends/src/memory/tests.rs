//! The memory backend's own promises: bounds, overflow, batches, threads. The answers themselves
//! are the arithmetic's.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
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
    assert_eq!(backend.engine.overflowing(), 0, "b has the room of a");
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

#[test]
fn a_key_is_kept_as_long_as_the_longest_of_its_limits_remembers() {
    let short: Limits = "100/s".parse().unwrap();
    let (backend, clock) = backend(10);
    let policy = policy(Algorithm::FixedWindow, "3/d");
    let (key, other) = (KeyBuf::of("k"), KeyBuf::of("other"));
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let briefly = Check::new(&policy, &short, key.as_ref());
    backend.decide_now(&briefly).unwrap().unwrap();
    let charged = backend.decide_now(&check.with_cost(2)).unwrap().unwrap();
    let denied = || {
        clock.advance(Duration::from_secs(2));
        now(backend.sweep(Sweep::new())).unwrap();
        !admit(&backend, &policy, "k")
    };
    // A denial under other limits does not let go of it.
    let refused = backend
        .decide_now(&briefly.with_cost(100))
        .unwrap()
        .unwrap();
    assert!(!refused.is_allowed());
    assert!(denied());
    // A batch that is undone leaves nothing behind, also of its limits.
    let full = Check::new(&policy, policy.limits(), other.as_ref()).with_cost(3);
    backend.decide_now(&full).unwrap().unwrap();
    let answers = now(backend.decide(&[briefly, full], Join::All));
    assert!(!answers[0].as_ref().unwrap().is_allowed());
    assert!(denied());
    // A correction under other limits does not, either.
    for by in [0, -1] {
        let adjust = Adjust::new(briefly, charged.charge().clone(), by);
        now(backend.adjust(&[adjust])).remove(0).unwrap();
        clock.advance(Duration::from_secs(2));
        now(backend.sweep(Sweep::new())).unwrap();
    }
    assert_eq!(remaining(&backend, &policy, "k"), 0);
}

#[test]
fn what_is_charged_later_counts_without_room_too() {
    let (backend, _clock) = backend(1);
    let policy = policy(Algorithm::FixedWindow, "3/d");
    assert!(admit(&backend, &policy, "fills the backend"));
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let nothing = now(backend.peek(&[check])).remove(0).unwrap();
    let adjust = Adjust::new(check, nothing.charge().clone(), 2);
    let charged = now(backend.adjust(&[adjust])).remove(0).unwrap();
    assert_eq!((charged.charge().cost(), charged.remaining()), (2, 1));
    assert!(admit(&backend, &policy, "k"));
    assert!(!admit(&backend, &policy, "k"));
}

#[test]
fn a_flood_of_policies_grows_memory_no_more_than_one_of_keys() {
    let (backend, clock) = backend(1);
    let of = |index: usize| {
        let name = format!("policy {index}");
        Policy::named(name.into(), Algorithm::Gcra, "1/m".parse().unwrap())
    };
    let day = policy(Algorithm::FixedWindow, "1/d");
    assert!(admit(&backend, &day, "fills the backend"));
    let most = super::overflow::MOST_POLICIES;
    for index in 0..most {
        assert!(admit(&backend, &of(index), "k"));
    }
    let key = KeyBuf::of("k");
    let policy = of(most);
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let error = backend.decide_now(&check).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let (known, twice): (_, Limits) = (of(3), "2/m".parse().unwrap());
    let checks = [Check::new(&known, &twice, key.as_ref()), check];
    clock.advance(MINUTE / 2);
    let answers = now(backend.decide(&checks, Join::All));
    assert!(!answers[0].as_ref().unwrap().is_allowed());
    assert!(answers[1].is_err());
    assert_eq!(backend.engine.overflowing(), most);
    clock.advance(MINUTE / 2);
    assert!(admit(&backend, &policy, "k"));
    assert_eq!(backend.engine.overflowing(), 1);
}

#[test]
fn keys_of_a_time_to_come_are_not_in_the_way_for_longer_than_they_ever_would_be() {
    const YEARS: Duration = Duration::from_hours(10 * 365 * 24);
    for algorithm in Algorithm::ALL {
        let (backend, clock) = backend(2);
        let policy = policy(algorithm, "1/m");
        clock.advance(YEARS);
        // Two keys that are kept, and one that finds no room.
        for key in ["a", "b", "c"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
        clock.step_back(YEARS);
        assert!(!admit(&backend, &policy, "a"), "{algorithm}");
        assert!(!admit(&backend, &policy, "d"), "{algorithm}");
        clock.advance(3 * MINUTE);
        for key in ["e", "f"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
        // The same when only keys that were kept already saw that time.
        clock.advance(YEARS);
        for key in ["e", "f"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
        clock.step_back(YEARS);
        admit(&backend, &policy, "d");
        clock.advance(3 * MINUTE);
        for key in ["g", "h"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
    }
}

#[test]
fn a_clock_that_steps_back_does_not_leave_the_overflow_in_use() {
    const YEARS: Duration = Duration::from_hours(10 * 365 * 24);
    let (backend, clock) = backend(1);
    let policy = policy(Algorithm::FixedWindow, "1/m");
    let brief = Policy::named("brief".into(), Algorithm::Gcra, "1/s".parse().unwrap());
    clock.advance(YEARS);
    assert!(admit(&backend, &brief, "fills the backend"));
    assert!(admit(&backend, &policy, "a"));
    clock.advance(Duration::from_secs(2));
    clock.step_back(YEARS);
    now(backend.reset(&[Check::new(
        &brief,
        brief.limits(),
        KeyBuf::of("fills the backend").as_ref(),
    )]))
    .unwrap();
    for _ in 0..3 {
        assert!(!admit(&backend, &policy, "new"));
        clock.advance(MINUTE / 3);
    }
    clock.advance(MINUTE);
    assert!(admit(&backend, &policy, "new"));
}

/// A backend in which no key finds room.
fn full_backend(builder: super::MemoryBuilder) -> MemoryBackend {
    let backend = builder.build();
    let limits = "1/366d".parse().unwrap();
    let filler = Policy::named("filler".into(), Algorithm::FixedWindow, limits);
    let mut key = 0;
    while backend.keys() < backend.max_keys() {
        admit(&backend, &filler, &key.to_string());
        key += 1;
    }
    backend
}

/// A backend of two shards in which no key finds room.
fn full_backend_of_two_shards(clock: impl ratelimit_core::Clock) -> MemoryBackend {
    full_backend(MemoryBackend::builder().clock(clock).max_keys(8_192))
}

#[test]
fn undoing_a_batch_takes_back_no_charge_of_another_caller() {
    let backend = full_backend_of_two_shards(ManualClock::new());
    let policy = policy(Algorithm::FixedWindow, "20000/d");
    let closed = Policy::named(
        "closed".into(),
        Algorithm::FixedWindow,
        "1/d".parse().unwrap(),
    );
    assert!(admit(&backend, &closed, "closed"));
    let admitted: usize = thread::scope(|scope| {
        let undone = scope.spawn(|| {
            for key in 0..20_000 {
                let (key, other) = (KeyBuf::of(&key), KeyBuf::of("closed"));
                let checks = [
                    Check::new(&policy, policy.limits(), key.as_ref()),
                    Check::new(&closed, closed.limits(), other.as_ref()),
                ];
                let answers = now(backend.decide(&checks, Join::All));
                assert!(!answers[0].as_ref().unwrap().is_allowed());
            }
        });
        let admitted = (0..40_000)
            .filter(|key| admit(&backend, &policy, &format!("alone {key}")))
            .count();
        undone.join().unwrap();
        admitted
    });
    assert!(admitted <= 20_000, "{admitted}");
    let left = (0..40_000)
        .filter(|key| admit(&backend, &policy, &format!("later {key}")))
        .count();
    assert_eq!(admitted + left, 20_000);
}

/// A clock that does something once, after it was read.
struct Interrupted {
    clock: ManualClock,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl core::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.clock.fmt(f)
    }
}

impl ratelimit_core::Clock for Interrupted {
    fn now(&self) -> ratelimit_core::Timestamp {
        let now = self.clock.now();
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        now
    }
}

#[test]
fn a_caller_that_is_overtaken_takes_the_overflow_to_no_earlier_time() {
    let clock = Arc::new(Interrupted {
        clock: ManualClock::new(),
        meanwhile: Mutex::new(None),
    });
    let backend = Arc::new(full_backend_of_two_shards(Arc::clone(&clock)));
    let policy = policy(Algorithm::FixedWindow, "3/m");
    clock.clock.advance(Duration::from_secs(59));
    let (sender, admitted) = mpsc::channel();
    let meanwhile = {
        let (backend, policy, clock) = (Arc::clone(&backend), policy.clone(), clock.clock.clone());
        move || {
            clock.advance(Duration::from_secs(1));
            // Those in the other shard are not held up.
            for key in 0..16 {
                let (backend, policy, sender) =
                    (Arc::clone(&backend), policy.clone(), sender.clone());
                thread::spawn(move || {
                    let _ = sender.send(admit(&backend, &policy, &format!("meanwhile {key}")));
                });
            }
            thread::sleep(Duration::from_millis(100));
        }
    };
    *clock.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    let mut count = usize::from(admit(&backend, &policy, "overtaken"));
    count += admitted
        .iter()
        .take(16)
        .filter(|admitted| *admitted)
        .count();
    count += (0..9).filter(|_| admit(&backend, &policy, "later")).count();
    assert_eq!(count, 3);
}

/// A writer of log lines that is limited itself.
#[derive(Clone)]
struct Limited(Arc<MemoryBackend>, Arc<AtomicUsize>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = policy(Algorithm::FixedWindow, "1/d");
        if !admit(&self.0, &lines, "k") {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_writes_the_log_may_be_limited_itself() {
    let (backend, _clock) = backend(1);
    let (backend, denied) = (Arc::new(backend), Arc::new(AtomicUsize::new(0)));
    let writer = Limited(Arc::clone(&backend), Arc::clone(&denied));
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        let policy = policy(Algorithm::FixedWindow, "1/d");
        tracing::subscriber::with_default(subscriber, || {
            admit(&backend, &policy, "fills the backend");
            admit(&backend, &policy, "k");
            let key = KeyBuf::of("k");
            let other = Policy::named("other".into(), policy.algorithm(), *policy.limits());
            let check = Check::new(&other, other.limits(), key.as_ref());
            now(backend.decide(&[check, check], Join::All));
        });
        let _ = sender.send(());
    });
    done.recv_timeout(Duration::from_secs(20))
        .expect("no lock is held while the log is written");
    assert!(denied.load(Ordering::SeqCst) > 1);
}

#[test]
fn every_key_of_the_bound_can_be_used() {
    let backend = full_backend(MemoryBackend::builder().max_keys(8_193));
    assert_eq!(backend.keys(), 8_193);
}

#[test]
fn what_charges_nothing_is_not_kept_and_what_is_charged_later_is() {
    let (backend, _clock) = backend(2);
    let policy = policy(Algorithm::FixedWindow, "3/d");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let nothing = backend.decide_now(&check.with_cost(0)).unwrap().unwrap();
    let adjust = |by| {
        let adjust = Adjust::new(check, nothing.charge().clone(), by);
        now(backend.adjust(&[adjust])).remove(0).unwrap()
    };
    assert_eq!(adjust(0).remaining(), 3);
    assert_eq!(backend.keys(), 0);
    assert_eq!(adjust(2).remaining(), 1);
    assert_eq!(backend.keys(), 1);
}

#[test]
fn an_undone_batch_keeps_no_key_longer() {
    let (backend, clock) = backend(10);
    let policy = policy(Algorithm::FixedWindow, "3/m");
    let day: Limits = "3/d".parse().unwrap();
    let (key, full) = (KeyBuf::of("k"), KeyBuf::of("full"));
    assert!(admit(&backend, &policy, "k"));
    let full = Check::new(&policy, policy.limits(), full.as_ref()).with_cost(3);
    backend.decide_now(&full).unwrap().unwrap();
    let checks = [Check::new(&policy, &day, key.as_ref()), full];
    now(backend.decide(&checks, Join::All));
    clock.advance(MINUTE);
    let swept = now(backend.sweep(Sweep::new())).unwrap();
    assert_eq!((swept.removed, swept.kept), (2, 0));
}

#[test]
fn a_key_that_was_charged_again_is_kept_longer() {
    let (backend, clock) = backend(1);
    let policy = policy(Algorithm::TokenBucket, "2/m");
    assert!(admit(&backend, &policy, "k"));
    clock.advance(MINUTE / 3);
    assert!(admit(&backend, &policy, "k"));
    clock.advance(MINUTE / 3);
    let swept = now(backend.sweep(Sweep::new())).unwrap();
    assert_eq!((swept.removed, swept.kept), (0, 1));
    assert_eq!(remaining(&backend, &policy, "k"), 1);
    clock.advance(MINUTE / 3);
    let swept = now(backend.sweep(Sweep::new())).unwrap();
    assert_eq!((swept.removed, swept.kept), (1, 0));
}

#[test]
fn an_overflow_bucket_is_in_use_until_it_is_fresh_whatever_others_are() {
    let (backend, clock) = backend(1);
    let of = |index: u32| {
        let limits = if index == 5 { "1/d" } else { "1/m" };
        let name = format!("policy {index}");
        Policy::named(name.into(), Algorithm::Gcra, limits.parse().unwrap())
    };
    assert!(admit(
        &backend,
        &policy(Algorithm::Gcra, "1/m"),
        "fills the backend"
    ));
    for index in 0..10 {
        assert!(admit(&backend, &of(index), "k"));
    }
    clock.advance(2 * MINUTE);
    assert!(!admit(&backend, &of(5), "k"));
    assert_eq!(backend.engine.overflowing(), 1);
    clock.advance(Duration::from_hours(24));
    assert!(admit(&backend, &of(5), "k"));
    assert_eq!(backend.engine.overflowing(), 0);
}
