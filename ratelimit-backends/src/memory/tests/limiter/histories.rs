//! Random histories, beside the arithmetic and beside a backend that is only asked by checks.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ratelimit_core::Error;

use super::*;

/// The same cases in every run.
fn always_the_same() -> ProptestConfig {
    ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    }
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
    #![proptest_config(always_the_same())]

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

#[derive(Clone, Debug)]
enum Do {
    Ask(u32),
    Pause(u64),
    /// With other limits of the same policy.
    Other(usize, u32),
    /// Charges by a check, and corrects that.
    Adjust(u32, i64),
    Reset,
    Sweep,
    /// Two keys as one, with such a cost.
    Both(u32),
}

/// What both say alike; their epochs differ.
fn seen(answer: Result<Decision, Error>) -> Result<(Checked, u32), ErrorKind> {
    let answer = answer.map_err(|error| error.kind())?;
    Ok((Checked::from(&answer), answer.charge().cost()))
}

fn something() -> impl Strategy<Value = Do> {
    prop_oneof![
        8 => (0..8_u32).prop_map(Do::Ask),
        2 => (0..4_000_000_000_u64).prop_map(Do::Pause),
        1 => (0..5_usize, 0..4_u32).prop_map(|(limits, cost)| Do::Other(limits, cost)),
        1 => (1..4_u32, -5..5_i64).prop_map(|(cost, by)| Do::Adjust(cost, by)),
        1 => Just(Do::Reset),
        1 => Just(Do::Sweep),
        1 => (0..4_u32).prop_map(Do::Both),
    ]
}

proptest! {
    #![proptest_config(always_the_same())]

    /// Also where keys share a bucket, and beside everything else that changes what is kept.
    #[test]
    fn it_answers_as_a_backend_that_is_only_asked_by_checks(
        max_keys in 1..6_usize,
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        calls in prop::collection::vec((0..7_u8, something()), 100),
    ) {
        let one = Mocked::new(max_keys);
        let mut other = MemoryBackend::builder().max_keys(max_keys).build();
        let Time::Process(counter) = &one.backend.engine.time else { unreachable!() };
        other.engine.time = Time::Process(counter.clone());
        // So that keys meet in the same lines, and find room together.
        other.engine.seeds = one.backend.engine.seeds.clone();
        let both = [&*one.backend, &other];
        let policy = policy(algorithm, "5/s");
        let limiter = one.backend.limiter(policy.clone());
        let others = ["5/s", "3/s", "20/m", "2/s", "5/s, 30/m"].map(|limits| limits.parse::<Limits>().unwrap());
        for (name, call) in calls {
            let key = KeyBuf::of(&name);
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            match call {
                Do::Ask(cost) => {
                    let answer = limiter.check_n(&name, cost);
                    let expected = other.decide_now(&check.with_cost(cost)).unwrap();
                    let expected = expected.map(|it| Checked::from(&it));
                    let text = |error: Error| (error.kind(), error.to_string());
                    prop_assert_eq!(answer.map_err(text), expected.map_err(text));
                }
                Do::Pause(nanos) => one.mock.increment(nanos),
                Do::Other(limits, cost) => {
                    let check = Check::new(&policy, &others[limits], key.as_ref()).with_cost(cost);
                    let [one, other] = both.map(|it| seen(it.decide_now(&check).unwrap()));
                    prop_assert_eq!(one, other);
                }
                Do::Adjust(cost, by) => {
                    let [one, other] = both.map(|it| {
                        let check = check.with_cost(cost);
                        let charge = it.decide_now(&check).unwrap().unwrap().charge().clone();
                        seen(now(it.adjust(&[Adjust::new(check, charge, by)])).remove(0))
                    });
                    prop_assert_eq!(one, other);
                }
                Do::Reset => both.iter().for_each(|it| now(it.reset(&[check])).unwrap()),
                Do::Sweep => both.iter().for_each(|it| {
                    now(it.sweep(Sweep::default())).unwrap();
                }),
                Do::Both(cost) => {
                    let next = KeyBuf::of(&(name + 1));
                    let next = Check::new(&policy, policy.limits(), next.as_ref());
                    let checks = [check.with_cost(cost), next.with_cost(cost)];
                    let [one, other] = both.map(|it| {
                        let answers = now(it.decide(&checks, Join::All));
                        answers.into_iter().map(seen).collect::<Vec<_>>()
                    });
                    prop_assert_eq!(one, other);
                }
            }
        }
    }
}
