//! A limiter answers as the arithmetic does, on the states that checks see, too. `histories`: random ones.

mod histories;

use ratelimit_core::{Checked, Decision, Timestamp};

use super::*;
use crate::hash::Fingerprint;
use crate::memory::MemoryLimiter;

/// A backend whose own clock stands still unless it is told to go on.
struct Mocked {
    backend: Arc<MemoryBackend>,
    mock: Arc<quanta::Mock>,
}

impl Mocked {
    fn new(max_keys: usize) -> Self {
        let (clock, mock) = quanta::Clock::mock();
        mock.increment(1_000_u64);
        let mut backend = MemoryBackend::builder().max_keys(max_keys).build();
        backend.engine.time = Time::Process(Counter::of(clock));
        let backend = Arc::new(backend);
        Self { backend, mock }
    }

    fn now(&self) -> Timestamp {
        self.backend.engine.time.now()
    }
}

fn decide(backend: &MemoryBackend, policy: &Policy, key: &str, cost: u32) -> Decision {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref()).with_cost(cost);
    backend.decide_now(&check).unwrap().unwrap()
}

/// Whether this call took no lock and made no room: what limiters are for.
fn at_once(limiter: &MemoryLimiter, key: &str) -> bool {
    limiter
        .at_once(
            |engine| engine.seeds.key(limiter.policy(), KeyBuf::of(key).as_ref()),
            1,
        )
        .is_some()
}

#[test]
fn a_bucket_of_whole_nanoseconds_takes_the_short_way() {
    let backend = Arc::new(MemoryBackend::new());
    for (algorithm, limits, short) in [
        (Algorithm::TokenBucket, "100/s", true),
        (Algorithm::Gcra, "10/m", true),
        (Algorithm::LeakyBucket, "1/d", true),
        (Algorithm::TokenBucket, "3/s", false),
        (Algorithm::TokenBucket, "1/s, 5/m", false),
        (Algorithm::FixedWindow, "100/s", false),
    ] {
        let named = Policy::named(limits.into(), algorithm, limits.parse().unwrap());
        let limiter = backend.limiter(named);
        assert!(!at_once(&limiter, "k"), "a new key takes locks");
        assert!(limiter.check("k").unwrap().is_allowed());
        assert_eq!(at_once(&limiter, "k"), short, "{algorithm} {limits}");
        // On a clock that may step back it never does.
        let (backend, _clock) = super::backend(10);
        let limiter = Arc::new(backend).limiter(policy(algorithm, limits));
        assert!(limiter.check("k").unwrap().is_allowed());
        assert!(!at_once(&limiter, "k"));
    }
}

#[test]
fn who_has_no_key_shares_the_bucket_of_the_empty_key() {
    let backend = Arc::new(MemoryBackend::new());
    let policy = policy(Algorithm::TokenBucket, "5/h");
    let limiter = backend.limiter(policy.clone());
    // It is not the key of an empty text.
    assert_eq!(limiter.check("").unwrap().remaining(), 4);
    assert_eq!(limiter.check_unkeyed().unwrap().remaining(), 4);
    assert_eq!(limiter.check_unkeyed_n(2).unwrap().remaining(), 2);
    let none = KeyBuf::new();
    let check = Check::new(&policy, policy.limits(), none.as_ref());
    let decision = backend.decide_now(&check).unwrap().unwrap();
    assert_eq!(decision.remaining(), 1);
    assert!(!limiter.check_unkeyed_n(2).unwrap().is_allowed());
    assert_eq!(limiter.check_unkeyed().unwrap().remaining(), 0);
    assert!(!limiter.check_unkeyed().unwrap().is_allowed());
    assert_eq!(limiter.check("").unwrap().remaining(), 3);
}

#[test]
fn limits_that_other_calls_bring_are_its_own_again() {
    let mocked = Mocked::new(10);
    let (backend, key) = (&mocked.backend, KeyBuf::of("k"));
    let policy = policy(Algorithm::TokenBucket, "10/h");
    let limiter = backend.limiter(policy.clone());
    let own = Check::new(&policy, policy.limits(), key.as_ref());
    let mut state = KeyState::fresh(policy.algorithm());
    for limits in ["10/h", "3/s", "5/h", "10/h, 20/d", "2/m", "7/h", "20/h"] {
        let limits: Limits = limits.parse().unwrap();
        let check = Check::new(&policy, &limits, key.as_ref());
        let expected = state.decide(&check, mocked.now());
        assert_eq!(backend.decide_now(&check).unwrap().unwrap(), expected);
        // The first call finds what the others left, the second what the limiter itself did.
        for cost in [1, 1, 0] {
            let expected = state.decide(&own.with_cost(cost), mocked.now());
            let answer = limiter.check_n("k", cost).unwrap();
            assert_eq!(answer, Checked::from(&expected), "after {limits:?}");
        }
        mocked.mock.increment(1_000_000_007_000_u64);
    }
}

#[test]
fn a_closed_backend_says_so() {
    let backend = Arc::new(MemoryBackend::new());
    let limiter = backend.limiter(policy(Algorithm::TokenBucket, "5/h"));
    assert!(limiter.check("k").unwrap().is_allowed());
    now(backend.close());
    let errors = [limiter.check("k"), limiter.check_unkeyed()];
    for error in errors.map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

#[test]
fn exactly_the_limit_is_admitted_by_limiters_and_checks_together() {
    let backend = Arc::new(MemoryBackend::builder().max_keys(20_000).build());
    let one_segment = backend.engine.states.table.lines();
    let policy = policy(Algorithm::TokenBucket, "1/d");
    let policy = policy.with_limits(
        "1/d"
            .parse::<Limits>()
            .unwrap()
            .with_bursts(&[5_000])
            .unwrap(),
    );
    let limiters = [
        backend.limiter(policy.clone()),
        backend.limiter(policy.clone()),
    ];
    let admitted: usize = thread::scope(|scope| {
        let work = |thread: usize| {
            let (limiter, policy, backend) = (&limiters[thread % 2], &policy, &backend);
            move || {
                let one = |call: usize| match (call + thread) % 3 {
                    0 => admit(backend, policy, "hot"),
                    _ => limiter.check("hot").unwrap().is_allowed(),
                };
                // New keys beside it make segments split and keys move.
                let beside = |call: usize| limiter.check(&call).unwrap().is_allowed();
                (0..4_000)
                    .filter(|call| one(*call) & beside(4 * call + thread))
                    .count()
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(work(thread))).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.sum()
    });
    assert_eq!(admitted, 5_000);
    assert!(backend.engine.states.table.lines() > one_segment);
}

/// What takes the longest, counts the most, or is cut off by it.
#[test]
fn the_largest_limits_and_costs_are_answered_as_the_arithmetic_does() {
    let most = u32::MAX;
    for (limits, burst) in [
        ("1/366d", 1),
        ("1/366d", 100),
        ("1000000000/s", 1),
        ("1000000000/s", most),
        ("4000000000/4s", most),
        ("1/s", 3_162_240_000),
    ] {
        let limits: Limits = limits.parse().unwrap();
        let limits = limits.with_bursts(&[burst]).unwrap();
        for algorithm in [
            Algorithm::TokenBucket,
            Algorithm::Gcra,
            Algorithm::LeakyBucket,
        ] {
            // So many nanoseconds after the start; the last is after every instant there is.
            for later in [0, 1, 1 << 62, i64::MAX as u64 - 1, u64::MAX >> 1] {
                let mocked = Mocked::new(10);
                mocked.mock.increment(later);
                let policy = Policy::named("p".into(), algorithm, limits);
                let limiter = mocked.backend.limiter(policy.clone());
                let key = KeyBuf::of("k");
                let mut state = KeyState::fresh(algorithm);
                for cost in [
                    1,
                    0,
                    burst - 1,
                    1,
                    most,
                    burst,
                    0,
                    1,
                    burst - 1,
                    1,
                    2,
                    burst,
                ] {
                    let check = Check::new(&policy, policy.limits(), key.as_ref()).with_cost(cost);
                    let answer = limiter.check_n("k", cost);
                    if cost > burst {
                        let error = answer.unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::Unsatisfiable);
                        continue;
                    }
                    let expected = state.decide(&check, mocked.now());
                    let answer = answer.unwrap();
                    assert_eq!(
                        answer,
                        Checked::from(&expected),
                        "{policy:?} {later} {cost}"
                    );
                    mocked.mock.increment(1_u64);
                }
            }
        }
    }
}

#[test]
fn delays_that_checks_brought_are_waited_for() {
    let mocked = Mocked::new(10);
    let policy = policy(Algorithm::LeakyBucket, "2/s");
    let limiter = mocked.backend.limiter(policy.clone());
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let mut state = KeyState::fresh(policy.algorithm());
    for turn in 0..200_u64 {
        if turn % 3 == 0 {
            let delayed = check.with_max_delay(Duration::from_secs(5));
            let answer = mocked.backend.decide_now(&delayed).unwrap().unwrap();
            assert_eq!(answer, state.decide(&delayed, mocked.now()));
        }
        let expected = state.decide(&check, mocked.now());
        assert_eq!(limiter.check("k").unwrap(), Checked::from(&expected));
        mocked.mock.increment(turn * 7_919_191);
    }
}

#[test]
fn without_a_number_for_its_packing_it_takes_the_long_way() {
    let mocked = Mocked::new(1_000);
    for period in 1..200_u32 {
        let limits = format!("{period}/{period}s");
        let policy = Policy::named(
            limits.clone().into(),
            Algorithm::Gcra,
            limits.parse().unwrap(),
        );
        let limiter = mocked.backend.limiter(policy.clone());
        let mut state = KeyState::fresh(policy.algorithm());
        let key = KeyBuf::of("k");
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        for cost in [1, 0, period, 1] {
            let expected = state.decide(&check.with_cost(cost), mocked.now());
            let answer = limiter.check_n("k", cost).unwrap();
            assert_eq!(answer, Checked::from(&expected), "{limits}");
        }
        assert_eq!(at_once(&limiter, "k"), period <= 126, "{limits}");
    }
}

#[test]
fn the_key_of_no_tag_takes_the_long_way() {
    let mocked = Mocked::new(10);
    let policy = policy(Algorithm::TokenBucket, "5/h");
    let limiter = mocked.backend.limiter(policy.clone());
    let engine = &mocked.backend.engine;
    let none = KeyBuf::new();
    let check = Check::new(&policy, policy.limits(), none.as_ref());
    for bits in [0x00, 0x02, 0x13, 0x7f, 0x80, 0xff] {
        let key = Fingerprint(bits);
        let mut state = KeyState::fresh(policy.algorithm());
        assert!(state.decide(&check, mocked.now()).is_allowed());
        let session = Session::open(engine, &[key]);
        let spot = session.spot(key, |_| false).unwrap();
        session.keep(&spot, key, state, &check);
        drop(session);
        assert!(engine.states.table.find(key).is_some());
        assert!(limiter.at_once(|_| key, 1).is_none());
        Session::open(engine, &[key]).forget(key);
        assert!(engine.states.table.find(key).is_none());
    }
}

#[test]
fn no_more_is_admitted_than_was_refilled_whatever_goes_on_beside_it() {
    let backend = Arc::new(MemoryBackend::builder().max_keys(20_000).build());
    let policy = policy(Algorithm::TokenBucket, "100000/s");
    let policy = policy.with_limits(
        "100000/s"
            .parse::<Limits>()
            .unwrap()
            .with_bursts(&[10])
            .unwrap(),
    );
    let limiter = backend.limiter(policy.clone());
    let done = std::sync::atomic::AtomicBool::new(false);
    let started = std::time::Instant::now();
    let admitted = thread::scope(|scope| {
        let (backend, policy, limiter, done) = (&backend, &policy, &limiter, &done);
        let threads: Vec<_> = (0..4_u32)
            .map(|thread| {
                scope.spawn(move || {
                    let cost = thread % 2 + 1;
                    let one = |_: &u32| limiter.check_n("hot", cost).unwrap().is_allowed();
                    u32::try_from((0..20_000_u32).filter(one).count()).unwrap() * cost
                })
            })
            .collect();
        scope.spawn(move || {
            let keys = ["hot", "cold"].map(KeyBuf::of);
            let mut new = 0_u32;
            while !done.load(Ordering::Relaxed) {
                now(backend.sweep(Sweep::default())).unwrap();
                for _ in 0..50 {
                    let checks = keys
                        .each_ref()
                        .map(|key| Check::new(policy, policy.limits(), key.as_ref()));
                    let answers = now(backend.decide(&checks, Join::All));
                    assert!(answers.iter().all(Result::is_ok));
                    new += 1;
                    limiter.check(&new).unwrap();
                }
            }
        });
        let admitted: u32 = threads.into_iter().map(|it| it.join().unwrap()).sum();
        done.store(true, Ordering::Relaxed);
        admitted
    });
    let refilled = started.elapsed().as_micros() / 10;
    assert!(
        u128::from(admitted) <= refilled + 11,
        "{admitted} of {refilled}"
    );
    assert!(admitted >= 10);
}

#[test]
fn a_burst_that_was_larger_is_cut_off() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::Gcra,
        Algorithm::LeakyBucket,
    ] {
        let mocked = Mocked::new(10);
        let policy = policy(algorithm, "10/h");
        let limiter = mocked.backend.limiter(policy.clone());
        let larger = policy.limits().with_bursts(&[40]).unwrap();
        let key = KeyBuf::of("k");
        let own = Check::new(&policy, policy.limits(), key.as_ref());
        let brought = Check::new(&policy, &larger, key.as_ref()).with_cost(35);
        let mut state = KeyState::fresh(algorithm);
        state.decide(&brought, mocked.now());
        assert!(
            mocked
                .backend
                .decide_now(&brought)
                .unwrap()
                .unwrap()
                .is_allowed()
        );
        for cost in [1, 5, 0, 1] {
            let expected = state.decide(&own.with_cost(cost), mocked.now());
            assert_eq!(
                limiter.check_n("k", cost).unwrap(),
                Checked::from(&expected)
            );
            mocked.mock.increment(1_000_000_000_000_u64);
        }
    }
}

#[test]
fn the_processors_time_goes_on_by_as_many_nanoseconds_as_it_counts() {
    for nanos in [0_u64, 1, 999, 1 << 32, 1 << 50, (1 << 60) + 1] {
        let mocked = Mocked::new(1);
        let before = mocked.now();
        mocked.mock.increment(nanos);
        assert_eq!(mocked.now().since(before), Duration::from_nanos(nanos));
        // What another processor read before the first count is no leap.
        mocked.mock.decrement(nanos + 1);
        assert_eq!(mocked.now(), before);
    }
}
