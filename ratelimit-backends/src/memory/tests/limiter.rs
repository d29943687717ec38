//! A limiter answers as the arithmetic does, on the states that checks see, too.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ratelimit_core::{Checked, Decision, Timestamp};

use super::*;
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

#[derive(Clone, Copy, Debug)]
enum Pause {
    None,
    Nanos(u64),
    /// The last answer's `retry_after`, and so many nanoseconds less.
    UntilRetry(u64),
    UntilReset(u64),
}

fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![
        4 => Just(Pause::None),
        2 => (0..3_000_000_000_u64).prop_map(Pause::Nanos),
        2 => (0..2_u64).prop_map(Pause::UntilRetry),
        1 => (0..2_u64).prop_map(Pause::UntilReset),
    ]
}

fn a_policy() -> impl Strategy<Value = Policy> {
    let limits = prop::sample::select(vec![
        "1/s", "10/s", "5/m", "1/366d", "1000/s", "3/s", "7/m", "2/s, 5/m", "10000/ms",
    ]);
    let algorithm = prop::sample::select(Algorithm::ALL.to_vec());
    (limits, algorithm, 1..4_u32).prop_map(|(limits, algorithm, bursts)| {
        let limits: Limits = limits.parse().unwrap();
        let most: Vec<_> = limits
            .as_slice()
            .iter()
            .map(|limit| limit.rate().limit() * bursts)
            .collect();
        let limits = if algorithm.is_bucket() {
            limits.with_bursts(&most).unwrap_or(limits)
        } else {
            limits
        };
        Policy::named("p".into(), algorithm, limits)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_answers_as_the_arithmetic_does(
        policy in a_policy(),
        calls in prop::collection::vec((pause(), 0..4_usize, 0..5_u32, any::<bool>()), 60),
    ) {
        let mocked = Mocked::new(1_000);
        let limiter = mocked.backend.limiter(policy.clone());
        let mut states: [KeyState; 4] = core::array::from_fn(|_| KeyState::fresh(policy.algorithm()));
        let mut last = (Duration::ZERO, Duration::ZERO);
        for (pause, key, cost, by_check) in calls {
            let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
            mocked.mock.increment(match pause {
                Pause::None => 0,
                Pause::Nanos(nanos) => nanos,
                Pause::UntilRetry(less) => nanos(last.0).saturating_sub(less),
                Pause::UntilReset(less) => nanos(last.1).saturating_sub(less),
            });
            let name = ["", "alice", "a key that is longer than sixteen bytes", "\0"][key];
            let buffer = KeyBuf::of(name);
            let check = Check::new(&policy, policy.limits(), buffer.as_ref()).with_cost(cost);
            if cost > check.capacity() {
                let error = limiter.check_n(name, cost).unwrap_err();
                prop_assert_eq!(error.kind(), ErrorKind::Unsatisfiable);
                continue;
            }
            let expected = states[key].decide(&check, mocked.now());
            // Both ways share what is kept.
            let answer = if by_check {
                Checked::from(&decide(&mocked.backend, &policy, name, cost))
            } else if cost == 1 {
                limiter.check(name).unwrap()
            } else {
                limiter.check_n(name, cost).unwrap()
            };
            prop_assert_eq!(answer, Checked::from(&expected));
            prop_assert_eq!(answer.is_allowed(), expected.is_allowed());
            prop_assert_eq!(answer.limit(), expected.limit());
            prop_assert_eq!(answer.remaining(), expected.remaining());
            prop_assert_eq!(answer.retry_after(), expected.retry_after());
            prop_assert_eq!(answer.reset_after(), expected.reset_after());
            last = (answer.retry_after(), answer.reset_after());
        }
    }
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
    let backend = Arc::new(MemoryBackend::new());
    let policy = policy(Algorithm::TokenBucket, "10/h");
    let limiter = backend.limiter(policy.clone());
    assert_eq!(limiter.check_n("k", 4).unwrap().remaining(), 6);
    let key = KeyBuf::of("k");
    for limits in ["3/s", "5/h", "10/h, 20/d"] {
        let limits: Limits = limits.parse().unwrap();
        let check = Check::new(&policy, &limits, key.as_ref());
        backend.decide_now(&check).unwrap().unwrap();
        let left = limiter.check_n("k", 0).unwrap().remaining();
        assert!(left <= 6, "{limits:?} is no fresh budget, but left {left}");
        assert!(limiter.check("k").unwrap().remaining() < left.max(1));
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
    let backend = Arc::new(MemoryBackend::builder().max_keys(2_000).build());
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
                    .filter(|call| one(*call) & beside(call % 1_500))
                    .count()
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(work(thread))).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.sum()
    });
    assert_eq!(admitted, 5_000);
}
