//! What every answer promises, whatever the algorithm.

use core::time::Duration;

use ratelimit_core::{Algorithm, Join, Limits, Policy};

use super::Store;
use super::bench::{Bench, check};

/// Ordinary rates, odd ones, several.
const LIMITS: [&str; 9] = [
    "1/s",
    "10/m",
    "3/s",
    "7/4w",
    "9_999_991/s",
    "977/ms",
    "1/366d",
    "5/s, 100/h",
    "2/s, 3/m, 10/h, 11/d",
];

fn policies(bench: &Bench, algorithm: Algorithm) -> Vec<Policy> {
    let limits = LIMITS
        .iter()
        .map(|text| text.parse::<Limits>().expect("limits"));
    let possible = limits.filter(|limits| bench.can(algorithm, limits));
    possible
        .map(|limits| bench.policy(algorithm, limits))
        .collect()
}

/// A denied call is admitted after its `retry_after`, and not one tick before.
pub fn retrying_in_time(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    for policy in policies(&bench, algorithm) {
        let key = check(&policy, b"key");
        let capacity = key.capacity();
        for (spent, cost, pause) in [
            (capacity, 1, 0),
            (capacity, capacity, 3),
            (capacity.div_ceil(2), capacity, 7),
            (capacity, capacity.div_ceil(3), 20),
        ] {
            bench.reset(&[key]);
            let period = policy.limits().as_slice()[0].rate().period();
            bench.pass(whole(period / 16 * pause, bench.tick()));
            assert!(bench.decide(&key.with_cost(spent)).is_allowed(), "{policy}");
            bench.pass(whole(period / 16 * (pause / 2), bench.tick()));
            let asked = key.with_cost(cost);
            let denied = bench.peek(&asked);
            if denied.is_allowed() {
                assert_eq!(denied.retry_after(), Duration::ZERO, "{policy}");
                continue;
            }
            assert_eq!(
                bench.decide(&asked).retry_after(),
                denied.retry_after(),
                "{policy}"
            );
            bench.pass(denied.retry_after().saturating_sub(bench.tick()));
            let early = bench.decide(&asked);
            assert!(!early.is_allowed(), "{policy}: {cost} a tick before");
            assert_eq!(early.retry_after(), bench.tick(), "{policy}: {cost}");
            bench.pass(bench.tick());
            assert!(
                bench.decide(&asked).is_allowed(),
                "{policy}: {cost} in time"
            );
        }
    }
}

fn whole(time: Duration, tick: Duration) -> Duration {
    let ticks = time.as_nanos() / tick.as_nanos() * tick.as_nanos();
    Duration::from_nanos(u64::try_from(ticks).expect("a time"))
}

/// Where one rate denies, none is charged; the answer tells which.
pub fn several_rates_are_all_or_nothing(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let policy = bench.policy_of(algorithm, "2/s, 5/m, 9/h");
    let key = check(&policy, b"key");
    let left = |bench: &Bench| -> Vec<u32> {
        let peeked = bench.peek(&key.with_cost(0));
        peeked.quotas().map(|quota| quota.remaining).collect()
    };
    let binding =
        |waits: &[Duration]| -> Vec<bool> { waits.iter().map(|wait| !wait.is_zero()).collect() };
    assert!(bench.decide(&key.with_cost(2)).is_allowed());
    assert_eq!(left(&bench), [0, 3, 7]);
    for _ in 0..3 {
        let denied = bench.decide(&key);
        assert!(!denied.is_allowed(), "the second's rate denies");
        let waits: Vec<_> = denied.quotas().map(|quota| quota.retry_after).collect();
        assert_eq!(binding(&waits), [true, false, false]);
        assert_eq!(left(&bench), [0, 3, 7], "nothing was charged");
    }
    // The second's rate is fresh after two seconds, whatever the algorithm.
    bench.pass(Duration::from_secs(2));
    assert!(bench.decide(&key.with_cost(2)).is_allowed());
    bench.pass(Duration::from_secs(2));
    let before = left(&bench);
    assert_eq!(before[0], 2);
    let asked = key.with_cost(2);
    let denied = bench.decide(&asked);
    assert!(!denied.is_allowed(), "the minute's rate denies");
    let waits: Vec<_> = denied.quotas().map(|quota| quota.retry_after).collect();
    assert_eq!(binding(&waits), [false, true, false]);
    assert_eq!(denied.retry_after(), waits[1]);
    assert_eq!(left(&bench), before, "nothing was charged");
}

/// Denied calls do not put off when the next one is admitted.
pub fn denials_do_not_delay_recovery(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let policy = bench.policy_of(algorithm, "5/s, 20/m");
    let (hammered, calm) = (check(&policy, b"hammered"), check(&policy, b"calm"));
    for key in [hammered, calm] {
        assert!(bench.decide(&key.with_cost(5)).is_allowed());
    }
    for round in 0..40 {
        for _ in 0..5 {
            let denied = bench.peek(&hammered.with_cost(5));
            if !denied.is_allowed() {
                bench.decide(&hammered.with_cost(5));
            }
        }
        let (one, other) = (bench.peek(&hammered), bench.peek(&calm));
        assert_eq!(
            one.quotas().collect::<Vec<_>>(),
            other.quotas().collect::<Vec<_>>()
        );
        bench.pass(Duration::from_millis(37));
        if round % 7 == 0 {
            let answers = bench.decide_all(&[hammered, calm], Join::Each);
            let allowed: Vec<_> = answers
                .iter()
                .flatten()
                .map(ratelimit_core::Decision::is_allowed)
                .collect();
            assert_eq!(allowed[0], allowed[1], "round {round}");
        }
    }
}

/// A reset makes one key fresh, and no other.
pub fn a_reset_is_a_fresh_key(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let policy = bench.policy_of(algorithm, "5/h");
    let keys = [
        check(&policy, b"one"),
        check(&policy, b"two"),
        check(&policy, b"three"),
    ];
    for key in &keys {
        assert_eq!(bench.spend(key, 9), 5);
    }
    bench.reset(&keys[..2]);
    let left: Vec<_> = keys.iter().map(|key| bench.peek(key).remaining()).collect();
    assert_eq!(left, [5, 5, 0], "{algorithm}");
    assert_eq!(bench.peek(&keys[0]).reset_after(), Duration::ZERO);
    assert_eq!(bench.spend(&keys[0], 9), 5);
    bench.reset(&[check(&policy, b"never used")]);
}

/// What is given back can be spent again, once; a correction upward is spent.
pub fn what_is_given_back_can_be_spent(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    if !bench.refunds(algorithm) {
        return;
    }
    for limits in ["10/m", "10/s, 30/m"] {
        let policy = bench.policy_of(algorithm, limits);
        let key = check(&policy, b"key");
        let charge = bench.decide(&key.with_cost(6)).charge().clone();
        assert_eq!(bench.peek(&key).remaining(), 4);
        let less = bench.adjust(key, &charge, -4);
        assert_eq!(
            (less.remaining(), less.charge().cost()),
            (8, 2),
            "{algorithm} {limits}"
        );
        let more = bench.adjust(key, less.charge(), 3);
        assert_eq!(
            (more.remaining(), more.charge().cost()),
            (5, 5),
            "{algorithm} {limits}"
        );
        let none = bench.adjust(key, more.charge(), i64::MIN);
        assert_eq!(
            (none.remaining(), none.charge().cost()),
            (10, 0),
            "{algorithm} {limits}"
        );
        let all = bench.adjust(key, none.charge(), i64::MAX);
        assert_eq!(
            (all.remaining(), all.charge().cost()),
            (0, 10),
            "{algorithm} {limits}"
        );
        assert!(!bench.decide(&key).is_allowed());
        // A charge that is over gives nothing back.
        bench.pass(Duration::from_mins(3));
        assert!(bench.decide(&key.with_cost(10)).is_allowed());
        let expired = bench.adjust(key, all.charge(), -10);
        assert_eq!(expired.remaining(), 0, "{algorithm} {limits}");
    }
}
