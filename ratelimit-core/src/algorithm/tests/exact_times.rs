//! `retry_after` and `reset_after` to the tick; `remaining` to the unit; and when a state may be forgotten.

use core::time::Duration;

use proptest::prelude::*;

use super::random::{Call, algorithm, some_limits, start};
use super::{Subject, nanos};
use crate::cases::cases;

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn the_same_call_succeeds_at_retry_after_and_fails_a_tick_before(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(24),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let (mut now, mut last) = (start, None);
        for call in calls {
            let (cost, decision) = subject.play(&mut now, call, last.as_ref());
            if decision.is_allowed() {
                prop_assert_eq!(decision.retry_after(), Duration::ZERO);
            } else if cost <= subject.capacity() {
                let retry = nanos(decision.retry_after());
                prop_assert!(retry > 0 && retry <= subject.longest_wait());
                let fails = subject.clone().at(now + retry - 1, cost);
                prop_assert!(!fails.is_allowed());
                prop_assert_eq!(nanos(fails.retry_after()), 1);
                prop_assert!(subject.clone().at(now + retry, cost).is_allowed());
            } else {
                prop_assert_eq!(decision.retry_after(), Duration::from_nanos(u64::MAX));
            }
            last = Some(decision);
        }
    }

    #[test]
    fn the_state_equals_a_fresh_one_at_reset_after_and_not_a_tick_before(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(24),
    ) {
        let fresh = Subject::of(algorithm, &limits);
        let mut subject = fresh.clone();
        let (mut now, mut last) = (start, None);
        for call in calls {
            let (_, decision) = subject.play(&mut now, call, last.as_ref());
            let reset = nanos(decision.reset_after());
            let forgettable = subject.state.fresh_at().as_nanos();
            if reset > 0 {
                prop_assert_eq!(forgettable, now + reset);
                let before = subject.peek(now + reset - 1, 0);
                prop_assert!(before.quotas().any(|quota| quota.remaining < quota.limit));
            } else {
                prop_assert!(forgettable <= now);
            }
            let full = subject.peek(now + reset, 0);
            prop_assert!(full.quotas().all(|quota| quota.remaining == quota.limit));
            prop_assert_eq!(full.reset_after(), Duration::ZERO);
            last = Some(decision);
        }
    }

    #[test]
    fn a_forgettable_state_answers_as_a_fresh_one_for_ever(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(12),
        later in Call::several(12),
    ) {
        let mut fresh = Subject::of(algorithm, &limits);
        let mut used = fresh.clone();
        let mut now = start;
        used.play_all(&mut now, &calls);
        now = now.max(used.state.fresh_at().as_nanos());
        let mut last = None;
        for call in later {
            let mut same = now;
            let expected = fresh.play(&mut same, call, last.as_ref()).1;
            let decision = used.play(&mut now, call, last.as_ref()).1;
            prop_assert_eq!(&decision.outcome(), &expected.outcome());
            prop_assert!(decision.quotas().eq(expected.quotas()));
            last = Some(decision);
        }
    }

    #[test]
    fn remaining_is_what_can_be_spent_at_once(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(16),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let (mut now, mut last) = (start, None);
        for call in calls {
            let (_, decision) = subject.play(&mut now, call, last.as_ref());
            let left = decision.remaining();
            prop_assert_eq!(left, subject.remaining(now));
            prop_assert!(subject.clone().at(now, left).is_allowed());
            if let Some(more) = left.checked_add(1) {
                prop_assert!(!subject.clone().at(now, more).is_allowed());
            }
            last = Some(decision);
        }
    }
}
