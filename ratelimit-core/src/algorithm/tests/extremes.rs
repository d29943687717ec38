//! The ends of time, of costs and of limits: nothing overflows, nobody panics.

use core::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::random::{algorithm, some_limits};
use super::{Algorithm, Limits, Subject, Timestamp};
use crate::cases::cases;
use crate::check::Adjust;
use crate::limits::MAX_FILL;

fn instant() -> impl Strategy<Value = u64> {
    const END: u64 = i64::MAX as u64;
    prop_oneof![
        Just(0),
        0..10_u64,
        any::<u64>(),
        END - 10..END,
        Just(END),
        Just(u64::MAX),
        1_700_000_000_000_000_000..1_800_000_000_000_000_000_u64,
    ]
}

fn cost() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0..10_u32, any::<u32>(), Just(u32::MAX)]
}

/// Random limits, and those at the bounds.
fn limits() -> impl Strategy<Value = Limits> {
    const BOUNDS: [&str; 5] = [
        "1/366d",
        "4294967295/366d",
        "4294967295/5s",
        "1_000_000/ms",
        "1/ms",
    ];
    let of_bounds = (select(&BOUNDS[..]), cost()).prop_map(|(text, burst)| {
        let limits: Limits = text.parse().unwrap();
        limits.with_bursts(&[burst]).unwrap_or(limits)
    });
    prop_oneof![some_limits(), of_bounds]
}

proptest! {
    #![proptest_config(cases(1_200))]

    #[test]
    fn any_call_at_any_time_under_any_limits_is_answered(
        algorithm in algorithm(),
        calls in prop::collection::vec((instant(), limits(), cost(), cost(), any::<i64>()), 1..12),
    ) {
        let mut subject = Subject::of(algorithm, &calls[0].1);
        let mut charge = crate::Charge::default();
        for (now, limits, cost, delay, by) in calls {
            subject.policy = subject.policy.clone().with_limits(limits);
            let at = Timestamp::from_nanos(now);
            let mut state = subject.state.clone();
            let check = subject.check().with_cost(cost);
            let check = check.with_max_delay(Duration::from_micros(delay.into()));
            for decision in [
                state.peek(&check, at),
                state.decide(&check, at),
                state.adjust(&Adjust::new(check, charge.clone(), by), at),
            ] {
                for quota in decision.quotas() {
                    prop_assert!(quota.remaining <= quota.limit);
                }
                prop_assert!(decision.reset_after() <= MAX_FILL);
                prop_assert!(decision.is_allowed() || decision.charge().cost() == 0);
                charge = decision.charge().clone();
            }
            state.fresh_at();
            subject.state = state;
        }
    }
}

#[test]
fn a_bucket_may_take_a_hundred_years_to_fill() {
    // The largest burst of one a year (366 days), emptied in the year 2262.
    let limits: Limits = "1/366d".parse().unwrap();
    assert!(limits.with_bursts(&[101]).is_err());
    let limits = limits.with_bursts(&[100]).unwrap();
    let end = Timestamp::MAX.as_nanos();
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket] {
        let mut bucket = Subject::of(algorithm, &limits);
        assert_eq!(bucket.at(end, 100).reset_after(), MAX_FILL);
        let denied = bucket.at(end, 1);
        assert_eq!(denied.retry_after(), Duration::from_hours(366 * 24));
        assert_eq!(bucket.at(0, 100).retry_after(), MAX_FILL, "and no longer");
    }
}

#[test]
fn a_cost_above_the_capacity_never_fits() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "10/m, 100/h");
        for cost in [11, 100, u32::MAX] {
            let never = subject.at(super::NOON, cost);
            assert!(!never.is_allowed());
            assert_eq!(never.retry_after(), Duration::from_nanos(u64::MAX));
            assert_eq!(never.remaining(), 10, "{algorithm}");
        }
        // The second rate would admit eleven.
        let retries: Vec<_> = subject
            .at(super::NOON, 11)
            .quotas()
            .map(|quota| quota.retry_after)
            .collect();
        assert_eq!(retries[1], Duration::ZERO);
    }
}
