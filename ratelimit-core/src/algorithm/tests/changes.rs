//! Limits that change on a live key: no change is a fresh budget.

use proptest::prelude::*;
use proptest::sample::select;

use super::{Algorithm, NOON, SECOND, Subject};

#[test]
fn a_bucket_keeps_its_debt_in_time() {
    let mut bucket = Subject::new(Algorithm::TokenBucket, "60/m");
    bucket.at(NOON, 30);
    bucket.change("60/m, 60/h");
    // Half a minute is owed: to the minute's rate 30 units, to the hour's one half.
    let left: Vec<_> = bucket
        .peek(NOON, 0)
        .quotas()
        .map(|quota| quota.remaining)
        .collect();
    assert_eq!(left, [30, 59]);
    bucket.change("10/s");
    assert_eq!(bucket.remaining(NOON), 0, "at most empty");
    assert_eq!(
        bucket.peek(NOON, 1).retry_after().as_millis(),
        100,
        "of the new rate"
    );
    let denied = bucket.at(NOON, 1);
    assert!(!denied.is_allowed());
    bucket.change("60/m");
    assert_eq!(
        bucket.remaining(NOON),
        59,
        "clamped to what the bucket in between could owe"
    );
}

#[test]
fn windows_carry_their_counts() {
    for algorithm in [
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
        Algorithm::SlidingWindowCounter,
    ] {
        let mut window = Subject::new(algorithm, "10/m");
        window.at(NOON, 8);
        for (limits, left) in [
            ("20/m", 12),
            ("5/m", 0),
            ("20/h", 12),
            ("9/h", 1),
            ("100/7m", 92),
        ] {
            window.change(limits);
            assert_eq!(window.remaining(NOON), left, "{algorithm} {limits}");
        }
        window.change("5/m");
        assert!(!window.at(NOON + SECOND, 1).is_allowed());
    }
}

#[test]
fn a_fraction_of_a_tick_is_rounded_up_when_its_rate_goes() {
    let mut bucket = Subject::new(Algorithm::TokenBucket, "3/s");
    bucket.at(NOON, 1);
    bucket.change("1000/s");
    assert_eq!(bucket.peek(NOON, 0).reset_after().as_nanos(), 333_333_334);
}

#[test]
fn rates_that_go_leave_those_of_the_longest_periods() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "2/s, 3/h");
        subject.at(NOON, 2);
        subject.change("3/h");
        assert_eq!(subject.remaining(NOON + 10 * SECOND), 1, "{algorithm}");
        subject.change("2/s, 3/h, 10/d");
        assert!(subject.remaining(NOON + 10 * SECOND) <= 1, "{algorithm}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_empty_key_stays_empty_under_any_limits(
        algorithm in select(&Algorithm::ALL[..]),
        before in select(&["10/m", "3/s", "7/4w", "5/s, 100/h"][..]),
        after in select(&["10/m", "3/s", "9/h", "1/4w", "977/s", "1/s, 2/m, 3/h, 4/d"][..]),
        by_one in any::<bool>(),
    ) {
        let mut subject = Subject::new(algorithm, before);
        // Spent at one instant; what the longest rate still holds cannot be had at once.
        if by_one {
            while subject.at(NOON, 1).is_allowed() {}
        } else {
            let capacity = subject.policy.limits().capacity(algorithm);
            subject.at(NOON, capacity);
        }
        let admitted = subject.policy.limits().capacity(algorithm);
        subject.change(after);
        let capacity = subject.policy.limits().capacity(algorithm);
        let left = subject.remaining(NOON);
        prop_assert!(left < capacity, "{left} of {capacity} is a fresh budget");
        if !algorithm.is_bucket() {
            prop_assert!(left <= capacity.saturating_sub(admitted));
        }
    }
}
