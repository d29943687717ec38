//! Packed states, step by step beside the states that they stand for.

use core::time::Duration;

use proptest::prelude::*;

use super::random::{Call, algorithm, one_limit, start};
use super::{Algorithm, NOON, SECOND, Subject, Timestamp};
use crate::algorithm::{Packing, Write};
use crate::cases::cases;
use crate::checked::Checked;
use crate::decision::Decision;
use crate::limits::Limits;

/// The answer of a packed state, with the word after it, by whichever way can give it.
fn packed(
    packing: &Packing,
    word: u64,
    subject: &Subject,
    (now, cost, delay): (u64, u32, Duration),
) -> Option<(Decision, u64)> {
    let check = subject.check().with_cost(cost).with_max_delay(delay);
    let now = Timestamp::from_nanos(now);
    let step = packing.step(word, &check, now);
    let bucket = packing
        .whole_bucket(check.limits)
        .filter(|_| delay.is_zero());
    if let Some((bucket, quick)) = bucket.and_then(|it| Some((it, it.step(word, now, cost)?))) {
        // The short way says the same as the long one.
        let step = step.expect("the long way can do whatever the short one can");
        assert_eq!(quick.replace().unwrap_or(word), step.word);
        assert_eq!(quick.replace().is_some(), step.write == Write::Charge);
        let (answer, long) = (
            bucket.decision(&quick, now, cost),
            packing.answer(&step, &check, now),
        );
        assert_eq!(answer, long);
        assert_eq!(answer.charge(), long.charge());
        assert_eq!(bucket.checked(&quick), Checked::from(&long));
    }
    let step = step?;
    if step.is_unsatisfiable() {
        assert!(!packing.answer(&step, &check, now).is_allowed());
    }
    Some((packing.answer(&step, &check, now), step.word))
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn a_packed_state_answers_as_the_state_itself(
        algorithm in algorithm(),
        limits in one_limit(),
        start in start(),
        before in 0..200_000_000_u64,
        delay in prop_oneof![3 => Just(0), 1 => 0..1_000_000_000_u64],
        calls in Call::several(40),
        steps_back in prop::collection::vec(0..10_u8, 40),
    ) {
        let delay = Duration::from_nanos(delay);
        let epoch = Timestamp::from_nanos(start.saturating_sub(before));
        let Some(packing) = Packing::of(algorithm, &limits, epoch) else {
            prop_assert_eq!(algorithm, Algorithm::SlidingWindow);
            return Ok(());
        };
        prop_assert!(packing.suits(&limits));
        let mut subject = Subject::of(algorithm, &limits);
        let (mut now, mut last, mut word) = (start, None, 0);
        for (call, back) in calls.iter().zip(steps_back) {
            let cost = call.pass(&mut now, &subject, last.as_ref());
            if back == 0 {
                now = now.saturating_sub(before);
            }
            let check = subject.check().with_cost(cost).with_max_delay(delay);
            let mut state = subject.state.clone();
            let decision = state.decide(&check, Timestamp::from_nanos(now));
            match packed(&packing, word, &subject, (now, cost, delay)) {
                Some((answer, after)) => {
                    prop_assert_eq!(&answer, &decision);
                    prop_assert_eq!(answer.charge(), decision.charge());
                    word = after;
                    prop_assert_eq!(packing.pack(&state), Some(word));
                    // A fresh state has as many forms as there are instants.
                    if word > 0 {
                        prop_assert_eq!(packing.fresh_at(word), state.fresh_at());
                        prop_assert_eq!(packing.unpack(word), state.clone());
                    }
                }
                None => {
                    // It does not fit: before the epoch, or too far from it.
                    prop_assert_eq!(packing.pack(&state), None);
                    return Ok(());
                }
            }
            subject.state = state;
            last = Some(decision);
        }
    }
}

#[test]
fn what_fits_a_word_fits_it_for_years() {
    const YEARS: u64 = 10 * 365 * 24 * 3_600 * SECOND;
    let fits = |algorithm, limits: &str, later: u64| {
        let mut subject = Subject::new(algorithm, limits);
        let epoch = Timestamp::from_nanos(NOON);
        let packing = Packing::of(algorithm, subject.policy.limits(), epoch).unwrap();
        subject.at(NOON + later, 1);
        packing.pack(&subject.state).is_some()
    };
    for limits in [
        "10/m",
        "1000/s",
        "3/s",
        "7/s",
        "1/366d",
        "1000000000/s",
        "60000/h",
    ] {
        assert!(fits(Algorithm::TokenBucket, limits, YEARS), "{limits}");
        assert!(fits(Algorithm::FixedWindow, limits, YEARS), "{limits}");
    }
    for limits in ["10/m", "1000/s", "3/ms", "100000/m"] {
        assert!(
            fits(Algorithm::SlidingWindowCounter, limits, YEARS),
            "{limits}"
        );
    }
    // A fraction of ten million parts leaves half an hour; what does not fit is kept unpacked.
    assert!(fits(Algorithm::TokenBucket, "9_999_991/s", 1_000 * SECOND));
    assert!(!fits(Algorithm::TokenBucket, "9_999_991/s", YEARS));
    assert!(!fits(
        Algorithm::SlidingWindowCounter,
        "4294967295/5s",
        100 * SECOND
    ));
}

#[test]
fn other_limits_do_not_suit_and_other_states_are_not_packed() {
    let limits = |text: &str| text.parse::<Limits>().unwrap();
    let epoch = Timestamp::from_nanos(NOON);
    let of = |algorithm, text: &str| Packing::of(algorithm, &limits(text), epoch);
    let bucket = of(Algorithm::TokenBucket, "3/s").unwrap();
    assert!(bucket.suits(&limits("3/s").with_bursts(&[9]).unwrap()));
    for other in ["3/m", "1/s", "3/s, 9/m"] {
        assert!(!bucket.suits(&limits(other)), "{other}");
    }
    let window = of(Algorithm::FixedWindow, "3/s").unwrap();
    assert!(window.suits(&limits("1/s")) && !window.suits(&limits("3/m")));
    assert_eq!(of(Algorithm::SlidingWindow, "3/s"), None);
    assert_eq!(of(Algorithm::FixedWindow, "3/s, 9/m"), None);

    let mut two = Subject::new(Algorithm::TokenBucket, "3/s, 9/m");
    two.at(NOON + 1, 1);
    assert_eq!(bucket.pack(&two.state), None);
    let mut minute = Subject::new(Algorithm::TokenBucket, "3/m");
    minute.at(NOON + 1, 1);
    assert_eq!(bucket.pack(&minute.state), None);
    // The same period in other fractions.
    let mut whole = Subject::new(Algorithm::TokenBucket, "1/s");
    whole.at(NOON + 1, 1);
    assert_eq!(bucket.pack(&whole.state), None);
    // A bucket that is full again at the epoch itself would look fresh to a clock before it.
    let mut early = Subject::new(Algorithm::TokenBucket, "1/s");
    early.at(NOON - SECOND, 1);
    assert_eq!(
        of(Algorithm::TokenBucket, "1/s")
            .unwrap()
            .pack(&early.state),
        None
    );
}
