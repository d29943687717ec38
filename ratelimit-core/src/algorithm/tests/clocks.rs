//! Clocks that step: backwards never grants and never locks out for longer than the policy could.

use core::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::{Algorithm, NOON, SECOND, Subject, nanos};
use crate::limits::Limits;

/// The longest that a policy could ever make a call wait.
fn longest_wait(algorithm: Algorithm, limits: &Limits) -> u64 {
    let waits = limits.as_slice().iter().map(|limit| match algorithm {
        // The bucket is empty and the call wants all of it.
        algorithm if algorithm.is_bucket() => limit.terms().fill.ceil(),
        Algorithm::SlidingWindowCounter => 2 * nanos(limit.rate().period()),
        _ => nanos(limit.rate().period()),
    });
    waits.max().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stepping_back_neither_grants_nor_locks_out(
        algorithm in select(&Algorithm::ALL[..]),
        limits in select(&["10/m", "3/s", "7/4w", "977/ms", "2/s, 5/m"][..]),
        calls in prop::collection::vec((0_u64..20, 1_u32..4), 1..30),
        back in prop_oneof![1_u64..100, 1..2 * SECOND, 1..100_000 * SECOND],
        cost in 1_u32..3,
    ) {
        let limits: Limits = limits.parse().unwrap();
        let capacity = limits.capacity(algorithm);
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = NOON;
        for (sixteenths, cost) in calls {
            now += nanos(limits.as_slice()[0].rate().period()) / 16 * sixteenths;
            subject.at(now, cost.min(capacity));
        }
        let before = subject.remaining(now);
        let earlier = now - back;
        let after = subject.remaining(earlier);
        // A window that was over is one that is not yet: only what lies in the state counts.
        prop_assert!(after <= before || subject.state.fresh_at(&limits).as_nanos() > now);

        let cost = cost.min(capacity);
        let decision = subject.at(earlier, cost);
        let wait = nanos(decision.retry_after());
        prop_assert!(wait <= longest_wait(algorithm, &limits), "waits {wait}");
        if !decision.is_allowed() {
            prop_assert!(subject.peek(earlier + wait, cost).is_allowed());
            prop_assert!(!subject.peek(earlier + wait - 1, cost).is_allowed());
            // Whatever was repaired is not repaired again.
            let state = subject.state.clone();
            prop_assert_eq!(subject.at(earlier, cost).is_allowed(), false);
            prop_assert_eq!(&subject.state, &state);
        }
    }

    #[test]
    fn standing_on_a_spot_that_is_stepped_to_admits_no_more_than_the_capacity(
        algorithm in select(&Algorithm::ALL[..]),
        limits in select(&["10/m", "3/s", "7/4w", "2/s, 5/m"][..]),
        steps in prop::collection::vec(0_u64..100_000, 1..20),
    ) {
        // Back, and back, and back again: no time passes, so that nothing is earned.
        let limits: Limits = limits.parse().unwrap();
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = NOON + 200_000_000 * SECOND;
        let mut admitted = 0;
        for step in steps {
            for _ in 0..4 {
                admitted += u32::from(subject.at(now, 1).is_allowed());
            }
            now -= step * SECOND / 7;
        }
        prop_assert!(admitted <= limits.capacity(algorithm), "{admitted}");
    }
}

#[test]
fn a_denial_writes_nothing_but_a_repair() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "2/m");
        assert!(subject.at(NOON, 2).is_allowed());
        let state = subject.state.clone();
        assert!(!subject.at(NOON + SECOND, 1).is_allowed());
        assert_eq!(subject.state, state, "{algorithm}");
        assert!(!subject.at(NOON - 3_600 * SECOND, 1).is_allowed());
        assert_ne!(subject.state, state, "{algorithm}: it lay an hour ahead");
        assert!(
            subject.at(NOON - 3_480 * SECOND, 1).is_allowed(),
            "{algorithm}"
        );
    }
}

#[test]
fn a_peek_repairs_nothing() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "2/m");
        subject.at(NOON, 2);
        let state = subject.state.clone();
        assert!(!subject.peek(NOON - 3_600 * SECOND, 1).is_allowed());
        assert_eq!(subject.state, state);
        let asked = subject.peek(NOON + SECOND, 0);
        assert!(asked.is_allowed() && asked.delay() == Duration::ZERO);
    }
}

#[test]
fn stepping_forward_gives_what_the_time_gives() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "6/m");
        subject.at(NOON, 6);
        assert_eq!(subject.remaining(NOON + 10_000 * SECOND), 6, "{algorithm}");
        assert_eq!(subject.remaining(NOON), 0, "{algorithm}");
    }
}
