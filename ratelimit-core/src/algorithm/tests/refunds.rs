//! Random corrections of charges: nothing is ever given that was not taken.

use proptest::prelude::*;

use super::oracle::Oracle;
use super::random::{Call, algorithm, some_limits, start};
use super::{Decision, Subject};
use crate::cases::cases;

/// One of the charges made before, and how much of it is corrected.
fn correction() -> impl Strategy<Value = (usize, i64)> {
    (0..6_usize, -40..12_i64)
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn a_charge_given_back_at_once_leaves_no_trace(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(16),
        cost in 1..20_u32,
        later in Call::several(8),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        let mut untouched = subject.clone();
        let charge = subject.at(now, cost).charge().clone();
        subject.adjust(now, &charge, -i64::from(charge.cost()));
        let mut last: Option<Decision> = None;
        for call in later {
            let mut same = now;
            let expected = untouched.play(&mut same, call, last.as_ref()).1;
            let decision = subject.play(&mut now, call, last.as_ref()).1;
            prop_assert_eq!(decision.outcome(), expected.outcome());
            prop_assert!(decision.quotas().eq(expected.quotas()), "{:?} {:?}", decision, expected);
            last = Some(decision);
        }
    }

    #[test]
    fn nothing_is_left_beyond_what_calls_not_given_back_leave(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in prop::collection::vec((Call::any(), correction()), 1..24),
    ) {
        // The oracle forgets a charge that was given back as if the call had never been: a
        // refund may give less than that, where time has refilled it already, and never more.
        // (Of a bucket only one is corrected: a charge does not see that one before it was.)
        let mut subject = Subject::of(algorithm, &limits);
        let mut charges = Vec::new();
        let (mut now, mut last) = (start, None);
        for (call, (index, by)) in calls {
            let decision = subject.play(&mut now, call, last.as_ref()).1;
            charges.push((now, decision.charge().clone()));
            last = Some(decision);
            let count = charges.len();
            let bucket = algorithm.is_bucket();
            let index = if bucket { 0 } else { count.saturating_sub(index + 1) };
            let (at, charge) = &mut charges[index];
            if by <= 0 {
                let adjusted = subject.adjust(now, charge, by);
                prop_assert!(adjusted.charge().cost() <= charge.cost());
                *charge = adjusted.charge().clone();
            } else if *at == now {
                let adjusted = subject.adjust(now, charge, by);
                prop_assert!(adjusted.charge().cost() >= charge.cost());
                *charge = adjusted.charge().clone();
            }
            let mut oracle = Oracle::new(algorithm, &limits);
            for (at, charge) in &charges {
                oracle.charge(*at, charge.cost());
            }
            for (rate, quota) in subject.peek(now, 0).quotas().enumerate() {
                let most = oracle.remaining(rate, now);
                prop_assert!(i128::from(quota.remaining) <= most, "{quota:?} {most}");
            }
        }
    }

    #[test]
    fn what_is_added_and_given_back_at_any_time_takes_nothing_from_others(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in prop::collection::vec(Call::any(), 3..20),
        more in 1..12_i64,
    ) {
        // The first call is added to in the middle and given back at the end. What is left then
        // is no more than the other calls leave.
        let mut subject = Subject::of(algorithm, &limits);
        let (mut now, mut last) = (start, None);
        let (mut own, mut others) = (None, Oracle::new(algorithm, &limits));
        let middle = calls.len() / 2;
        for (index, call) in calls.into_iter().enumerate() {
            let decision = subject.play(&mut now, call, last.as_ref()).1;
            match &own {
                None => own = Some(decision.charge().clone()),
                Some(_) => others.charge(now, decision.charge().cost()),
            }
            if index == middle {
                own = own.map(|own| subject.adjust(now, &own, more).charge().clone());
            }
            last = Some(decision);
        }
        let own = own.unwrap();
        subject.adjust(now, &own, -i64::from(own.cost()));
        for (rate, quota) in subject.peek(now, 0).quotas().enumerate() {
            let most = others.remaining(rate, now);
            prop_assert!(i128::from(quota.remaining) <= most, "{quota:?} {most}");
        }
    }
}
