//! Limits that change on a live key: no change is a fresh budget.

use proptest::prelude::*;
use proptest::sample::select;

use super::random::{Call, algorithm, bucket, limit, one_limit, some_limits, start};
use super::{Algorithm, Limits, NOON, SECOND, Subject, nanos};
use crate::cases::cases;
use crate::limits::Limit;

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
        30,
        "what came between has a state of its own"
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
    #![proptest_config(cases(300))]

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

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_rate_that_stays_has_no_more_left_when_others_come_or_go(
        algorithm in algorithm(),
        stays in limit(),
        others in prop::collection::vec(limit(), 1..4),
        kept in 0..3_usize,
        come in any::<bool>(),
        start in start(),
        calls in Call::several(16),
    ) {
        let with = |others: &[Limit]| {
            let limits: Vec<_> = others.iter().copied().chain([stays]).collect();
            Limits::several(&limits).unwrap()
        };
        // Where some come and others go, rates are told by their place alone.
        let kept = kept.min(others.len() - 1);
        let (few, many) = (with(&others[..kept]), with(&others));
        let (before, after) = if come { (few, many) } else { (many, few) };
        let mut subject = Subject::of(algorithm, &before);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        let left = |subject: &Subject, limits: &Limits| {
            let place = limits.as_slice().iter().position(|limit| *limit == stays).unwrap();
            subject.peek(now, 0).quotas().nth(place).unwrap().remaining
        };
        let had = left(&subject, &before);
        subject.policy = subject.policy.clone().with_limits(after);
        let has = left(&subject, &after);
        prop_assert!(has <= had, "{} of {} after {} became {}", has, had, before, after);
        // Nor does it wait for longer than it could ever need.
        let answer = subject.at(now, subject.capacity());
        prop_assert!(nanos(answer.retry_after()) <= subject.longest_wait());
    }

    #[test]
    fn a_bucket_keeps_its_debt_in_time_at_most_to_empty(
        algorithm in bucket(),
        before in one_limit(),
        after in one_limit(),
        start in start(),
        calls in Call::several(16),
    ) {
        let mut subject = Subject::of(algorithm, &before);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        let debt = nanos(subject.peek(now, 0).reset_after());
        subject.policy = subject.policy.clone().with_limits(after);
        let fill = subject.longest_wait();
        let reset = nanos(subject.peek(now, 0).reset_after());
        prop_assert_eq!(reset, debt.min(fill));
    }

    #[test]
    fn what_is_promised_holds_under_the_limits_that_are_new(
        algorithm in algorithm(),
        before in some_limits(),
        after in some_limits(),
        start in start(),
        calls in Call::several(16),
        part in 1..=4_u32,
    ) {
        let mut subject = Subject::of(algorithm, &before);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        subject.policy = subject.policy.clone().with_limits(after);
        let cost = (subject.capacity() / part).max(1);
        let answer = subject.at(now, cost);
        let retry = nanos(answer.retry_after());
        prop_assert!(retry <= subject.longest_wait());
        if !answer.is_allowed() {
            prop_assert!(!subject.clone().at(now + retry - 1, cost).is_allowed());
            prop_assert!(subject.clone().at(now + retry, cost).is_allowed());
        }
    }

    #[test]
    fn a_state_of_other_limits_is_forgotten_only_when_it_is_fresh_under_these(
        algorithm in algorithm(),
        before in some_limits(),
        after in some_limits(),
        start in start(),
        calls in Call::several(16),
    ) {
        let mut subject = Subject::of(algorithm, &before);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        subject.policy = subject.policy.clone().with_limits(after);
        let fresh_at = subject.state.fresh_at().as_nanos();
        let full = |at| subject.peek(at, 0).quotas().all(|quota| quota.remaining == quota.limit);
        prop_assert!(full(fresh_at.max(now)));
        // Nor before it is fresh under those that it was used with, which may come back.
        subject.policy = subject.policy.clone().with_limits(before);
        prop_assert!(subject.peek(fresh_at.max(now), 0).quotas().all(|q| q.remaining == q.limit));
    }
}

#[test]
fn a_looser_rate_of_a_longer_period_hides_no_debt() {
    // Five calls owe a second to 5/s, and 18 ms to the million an hour.
    let mut bucket = Subject::new(Algorithm::TokenBucket, "5/s, 1_000_000/h");
    bucket.at(NOON, 5);
    bucket.change("5/s");
    assert_eq!(bucket.remaining(NOON), 0);
}

#[test]
fn a_rate_goes_on_with_the_state_of_its_period() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "5/s, 100/h");
        let mut now = NOON;
        for _ in 0..20 {
            assert!(subject.at(now, 5).is_allowed(), "{algorithm}");
            now += 2 * SECOND;
        }
        let used = |subject: &Subject| subject.peek(now, 0).quotas().map(|q| q.remaining).min();
        let before = used(&subject);
        // The hour's rate is not the first of two any more, but the second.
        subject.change("100/h, 1000/d");
        assert_eq!(used(&subject), before, "{algorithm}");
        subject.change("100/h");
        assert_eq!(used(&subject), before, "{algorithm}");
        subject.change("1000/d, 100/h, 5/s");
        assert!(used(&subject) <= before, "{algorithm}");
    }
}

#[test]
fn calls_that_bring_different_limits_do_not_undo_each_other() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "2/h");
        subject.at(NOON, 2);
        let mut now = NOON;
        for other in ["1/s", "5/m", "3/10s", "2/s, 9/m"]
            .into_iter()
            .cycle()
            .take(40)
        {
            now += 30 * SECOND;
            subject.change(other);
            subject.at(now, 1);
            subject.change("2/h");
            let left = subject.remaining(now);
            // A bucket gives one unit each half an hour.
            let given = if algorithm.is_bucket() {
                (now - NOON) / (1_800 * SECOND)
            } else {
                0
            };
            assert!(
                u64::from(left) <= given,
                "{algorithm}: {left} after {other}"
            );
        }
    }
}
