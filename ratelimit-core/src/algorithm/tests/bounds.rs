//! What each algorithm admits over any interval, counted from the outside.

use proptest::prelude::*;
use proptest::sample::select;

use super::random::{Call, bucket, one_limit, some_limits, start};
use super::{Algorithm, Subject, nanos};
use crate::cases::cases;
use crate::limits::{Limit, Limits};

/// The admitted calls of a history.
fn admitted(algorithm: Algorithm, limits: &Limits, start: u64, calls: &[Call]) -> Vec<(u64, u64)> {
    let mut subject = Subject::of(algorithm, limits);
    let (mut now, mut last) = (start, None);
    let mut admitted = Vec::new();
    for call in calls {
        let (cost, decision) = subject.play(&mut now, *call, last.as_ref());
        if decision.is_allowed() && cost > 0 {
            admitted.push((now, u64::from(cost)));
        }
        last = Some(decision);
    }
    admitted
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_bucket_admits_at_most_its_burst_and_what_the_interval_refills(
        algorithm in bucket(),
        limits in one_limit(),
        start in start(),
        calls in Call::busy(),
    ) {
        let limit = limits.as_slice()[0];
        let period = limit.rate().period().as_nanos();
        let (burst, per_period) = (limit.capacity(algorithm), limit.rate().limit());
        let admitted = admitted(algorithm, &limits, start, &calls);
        for (first, (from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (to, cost) in &admitted[first..] {
                sum += u128::from(*cost) * period;
                let length = u128::from(to - from);
                prop_assert!(sum <= u128::from(burst) * period + length * u128::from(per_period));
            }
        }
    }

    #[test]
    fn a_sliding_window_admits_at_most_the_limit_in_every_half_open_period(
        limits in one_limit(),
        start in start(),
        calls in Call::busy(),
    ) {
        let rate = limits.as_slice()[0].rate();
        let admitted = admitted(Algorithm::SlidingWindow, &limits, start, &calls);
        for (first, (from, _)) in admitted.iter().enumerate() {
            let within = admitted[first..].iter().filter(|(at, _)| at - from < nanos(rate.period()));
            let sum: u64 = within.map(|(_, cost)| cost).sum();
            prop_assert!(sum <= u64::from(rate.limit()));
        }
    }

    #[test]
    fn a_fixed_window_admits_at_most_the_limit_between_two_boundaries(
        algorithm in select(vec![Algorithm::FixedWindow, Algorithm::SlidingWindowCounter]),
        limits in one_limit(),
        start in start(),
        calls in Call::busy(),
    ) {
        let rate = limits.as_slice()[0].rate();
        let window = |at: u64| at / nanos(rate.period());
        let admitted = admitted(algorithm, &limits, start, &calls);
        for (from, _) in &admitted {
            let within = admitted.iter().filter(|(at, _)| window(*at) == window(*from));
            let sum: u64 = within.map(|(_, cost)| cost).sum();
            prop_assert!(sum <= u64::from(rate.limit()));
        }
    }

    #[test]
    fn several_rates_keep_the_bound_of_each(
        limits in some_limits(),
        start in start(),
        calls in Call::busy(),
    ) {
        let admitted = admitted(Algorithm::SlidingWindow, &limits, start, &calls);
        for rate in limits.as_slice().iter().map(Limit::rate) {
            for (first, (from, _)) in admitted.iter().enumerate() {
                let period = nanos(rate.period());
                let within = admitted[first..].iter().filter(|(at, _)| at - from < period);
                let sum: u64 = within.map(|(_, cost)| cost).sum();
                prop_assert!(sum <= u64::from(rate.limit()));
            }
        }
    }
}
