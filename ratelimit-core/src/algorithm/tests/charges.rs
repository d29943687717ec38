//! Charges that are given back or corrected.

use core::time::Duration;

use super::{Algorithm, NOON, SECOND, Subject};
use crate::check::Adjust;
use crate::clock::Timestamp;
use crate::decision::{Charge, Decision};

impl Subject {
    pub(super) fn adjust(&mut self, now: u64, charge: &Charge, by: i64) -> Decision {
        let mut state = self.state.clone();
        let adjust = Adjust::new(self.check(), charge.clone(), by);
        let decision = state.adjust(&adjust, Timestamp::from_nanos(now));
        self.state = state;
        decision
    }
}

#[test]
fn what_is_given_back_at_once_was_never_taken() {
    for algorithm in Algorithm::ALL {
        for limits in ["10/m", "7/s", "9_999_991/s", "10/s, 30/m"] {
            let mut subject = Subject::new(algorithm, limits);
            subject.at(NOON, 2);
            let before = subject.remaining(NOON);
            let one = subject.at(NOON, 3).charge().clone();
            let other = subject.at(NOON, 1).charge().clone();
            subject.adjust(NOON, &one, -3);
            assert_eq!(subject.remaining(NOON), before - 1, "{algorithm} {limits}");
            subject.adjust(NOON, &other, -1);
            assert_eq!(subject.remaining(NOON), before, "{algorithm} {limits}");
        }
    }
}

#[test]
fn calls_under_way_at_once_are_all_given_back() {
    // As when only failures count, and there are none: two calls are always under way.
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "10/m");
        let mut under_way = Vec::new();
        for call in 0..1_000 {
            let now = NOON + call * SECOND / 20;
            let decision = subject.at(now, 1);
            assert!(decision.is_allowed(), "{algorithm}: call {call}");
            under_way.push(decision.charge().clone());
            if under_way.len() > 2 {
                let charge = under_way.remove(usize::from(call % 3 == 0));
                subject.adjust(now, &charge, -1);
            }
        }
    }
}

#[test]
fn an_expired_charge_gives_back_nothing() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "10/m");
        let old = subject.at(NOON, 10).charge().clone();
        let later = NOON + 130 * SECOND;
        subject.at(later, 10);
        subject.adjust(later, &old, -10);
        assert_eq!(subject.remaining(later), 0, "{algorithm}");
    }
}

#[test]
fn of_a_bucket_only_what_was_not_refilled_comes_back() {
    let mut bucket = Subject::new(Algorithm::TokenBucket, "10/m");
    let charge = bucket.at(NOON, 5).charge().clone();
    let later = NOON + 24 * SECOND;
    assert_eq!(bucket.remaining(later), 9);
    bucket.at(later, 5);
    // Four of the five were refilled.
    bucket.adjust(later, &charge, -5);
    assert_eq!(bucket.remaining(later), 5);
}

#[test]
fn of_a_bucket_what_was_given_back_is_not_refilled_again() {
    let mut bucket = Subject::new(Algorithm::TokenBucket, "10/m");
    let charge = bucket.at(NOON, 5).charge().clone();
    let rest = bucket.adjust(NOON, &charge, -2).charge().clone();
    // Two of the three that are left were refilled.
    let later = NOON + 12 * SECOND;
    bucket.at(later, 4);
    assert_eq!(bucket.remaining(later), 5);
    bucket.adjust(later, &rest, -3);
    assert_eq!(bucket.remaining(later), 6);
}

#[test]
fn a_counter_gives_back_to_the_window_that_it_was_taken_from() {
    let mut window = Subject::new(Algorithm::SlidingWindowCounter, "10/m");
    let charge = window.at(NOON + 30 * SECOND, 8).charge().clone();
    let later = NOON + 60 * SECOND;
    assert_eq!(window.remaining(later), 2);
    window.adjust(later, &charge, -8);
    assert_eq!(window.remaining(later), 10);
}

#[test]
fn never_more_comes_back_than_was_charged_and_never_above_full() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "10/m");
        let charge = subject.at(NOON, 2).charge().clone();
        subject.at(NOON, 5);
        subject.adjust(NOON, &charge, i64::MIN);
        assert_eq!(subject.remaining(NOON), 5, "{algorithm}");
        let denied = subject.at(NOON, 9).charge().clone();
        subject.adjust(NOON, &denied, -9);
        assert_eq!(
            subject.remaining(NOON),
            5,
            "{algorithm}: a denial charged nothing"
        );
        let mut fresh = Subject::new(algorithm, "10/m");
        fresh.adjust(NOON, &charge, -2);
        assert_eq!(fresh.remaining(NOON), 10, "{algorithm}");
    }
}

#[test]
fn more_is_charged_at_most_to_empty() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "10/m");
        let charge = subject.at(NOON, 2).charge().clone();
        let settled = subject.adjust(NOON, &charge, 3);
        assert_eq!(
            (settled.charge().cost(), settled.remaining()),
            (5, 5),
            "{algorithm}"
        );
        let settled = subject.adjust(NOON, settled.charge(), i64::MAX);
        assert_eq!(
            (settled.charge().cost(), settled.remaining()),
            (10, 0),
            "{algorithm}"
        );
        assert!(!subject.at(NOON, 1).is_allowed());
    }
}

#[test]
fn only_the_last_place_of_a_queue_can_be_given_back() {
    let mut queue = Subject::new(Algorithm::LeakyBucket, "10/s");
    let wait = Duration::from_secs(1);
    let first = queue.within(NOON, wait).charge().clone();
    let second = queue.within(NOON, wait).charge().clone();
    queue.adjust(NOON, &first, -1);
    assert_eq!(
        queue.remaining(NOON),
        8,
        "the second knows already when it leaves"
    );
    queue.adjust(NOON, &second, -1);
    assert_eq!(queue.remaining(NOON), 9);
}

#[test]
fn what_was_added_later_gives_back_nothing_of_what_expired_before() {
    for algorithm in Algorithm::ALL {
        // Five units, long gone; others spend nine; then one unit is added to the charge.
        let mut subject = Subject::new(algorithm, "10/m");
        let old = subject.at(NOON, 5).charge().clone();
        let later = NOON + 130 * SECOND;
        subject.at(later, 9);
        let added = subject.adjust(later, &old, 1).charge().clone();
        assert_eq!(added.cost(), 6, "{algorithm}: charged in all");
        subject.adjust(later, &added, -6);
        // At most the one; a window gives nothing back of a charge that began before it.
        let back = u32::from(algorithm.is_bucket());
        assert_eq!(subject.remaining(later), back, "{algorithm}");
    }
}

#[test]
fn what_could_not_be_added_makes_an_old_charge_no_younger() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "10/m");
        let old = subject.at(NOON, 5).charge().clone();
        let later = NOON + 130 * SECOND;
        subject.at(later, 10);
        let same = subject.adjust(later, &old, 1).charge().clone();
        assert_eq!(same.cost(), 5, "{algorithm}: nothing was left to add");
        subject.adjust(later, &same, -5);
        assert_eq!(subject.remaining(later), 0, "{algorithm}");
    }
}

#[test]
fn what_was_added_at_once_is_given_back_with_the_rest() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "10/m");
        let charge = subject.at(NOON, 2).charge().clone();
        let settled = subject.adjust(NOON, &charge, 3).charge().clone();
        let part = subject.adjust(NOON, &settled, -4).charge().clone();
        assert_eq!(
            (part.cost(), subject.remaining(NOON)),
            (1, 9),
            "{algorithm}"
        );
        subject.adjust(NOON, &part, -1);
        assert_eq!(subject.remaining(NOON), 10, "{algorithm}");
    }
}

#[test]
fn what_is_added_to_a_charge_of_nothing_can_be_given_back() {
    for algorithm in Algorithm::ALL {
        // As when a call costs nothing until it is known what it used.
        let mut subject = Subject::new(algorithm, "10/m");
        subject.at(NOON, 4);
        let nothing = Charge::default();
        let settled = subject.adjust(NOON, &nothing, 3).charge().clone();
        assert_eq!((settled.cost(), subject.remaining(NOON)), (3, 3));
        subject.adjust(NOON, &settled, -3);
        assert_eq!(subject.remaining(NOON), 6, "{algorithm}");
    }
}

#[test]
fn a_place_that_was_added_to_stays_a_place() {
    let mut queue = Subject::new(Algorithm::LeakyBucket, "10/s");
    let wait = Duration::from_secs(1);
    let first = queue.within(NOON, wait).charge().clone();
    let first = queue.adjust(NOON, &first, 1).charge().clone();
    let second = queue.within(NOON, wait).charge().clone();
    queue.adjust(NOON, &first, -2);
    assert_eq!(queue.remaining(NOON), 7, "it is not the last one");
    queue.adjust(NOON, &second, -1);
    queue.adjust(NOON, &first, -2);
    assert_eq!(queue.remaining(NOON), 10, "now it is");
}
