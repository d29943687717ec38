//! Clocks that step back and forth: nothing is granted, and nobody is locked out for long.

use core::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::random::{Call, algorithm, some_limits, start};
use super::{Algorithm, KeyState, NOON, SECOND, Subject, Timestamp, nanos};
use crate::cases::cases;
use crate::limits::Limits;

/// A step back: to the epoch, by some ticks, or by some of the longest wait.
fn stepped_back(now: u64, longest: u64, kind: u8, size: u16) -> u64 {
    let part = |of: u64| u64::try_from(u128::from(of) * u128::from(size) / 65_536).unwrap();
    match kind {
        0 => 0,
        1 => now.saturating_sub(u64::from(size % 3)),
        2 => part(now),
        3 => now.saturating_sub(part(longest / 50)),
        _ => now.saturating_sub(part(longest)),
    }
}

fn step() -> impl Strategy<Value = (u8, u16)> {
    (0..5_u8, any::<u16>())
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn a_step_back_never_allows_more_than_standing_still(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(16),
        (kind, size) in step(),
        charge in any::<bool>(),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        let still: Vec<_> = subject.peek(now, 0).quotas().collect();
        let back = stepped_back(now, subject.longest_wait(), kind, size);
        for (then, still) in subject.peek(back, 0).quotas().zip(&still) {
            prop_assert!(then.remaining <= still.remaining, "{:?} {:?}", then, still);
        }
        // What is stored there grants nothing either, wherever the clock goes on from.
        let left = subject.remaining(back);
        subject.at(back, if charge { left } else { 0 });
        for (then, still) in subject.peek(back, 0).quotas().zip(&still) {
            prop_assert!(then.remaining <= still.remaining, "{:?} {:?}", then, still);
        }
    }

    #[test]
    fn nobody_waits_longer_than_the_policy_could_ever_need(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        rounds in prop::collection::vec((Call::several(6), step()), 1..5),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = start;
        for (calls, (kind, size)) in rounds {
            subject.play_all(&mut now, &calls);
            now = stepped_back(now, subject.longest_wait(), kind, size);
            let longest = Duration::from_nanos(subject.longest_wait());
            let cost = subject.capacity();
            let answer = subject.at(now, cost);
            prop_assert!(answer.retry_after() <= longest);
            prop_assert!(answer.reset_after() <= longest);
            // The promise holds, to the tick, although the clock had stepped.
            if !answer.is_allowed() {
                let retry = nanos(answer.retry_after());
                prop_assert!(!subject.clone().at(now + retry - 1, cost).is_allowed());
                prop_assert!(subject.clone().at(now + retry, cost).is_allowed());
            }
        }
    }

    #[test]
    fn a_denial_writes_only_once_to_repair_a_state_that_lies_ahead(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(16),
        (kind, size) in step(),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        now = stepped_back(now, subject.longest_wait(), kind, size);
        let Some(cost) = subject.remaining(now).checked_add(1) else {
            return Ok(()); // Whatever is asked for fits.
        };
        let first = subject.at(now, cost);
        prop_assert!(!first.is_allowed());
        let repaired = subject.state.clone();
        for _ in 0..3 {
            prop_assert_eq!(&subject.at(now, cost), &first, "the repair changed the answer");
            prop_assert_eq!(&subject.state, &repaired);
        }
    }

    #[test]
    fn who_is_behind_and_takes_the_newest_instant_grants_nothing(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(16),
        (kind, size) in step(),
        charge in any::<bool>(),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        let newest = subject.state.newest_under(&limits).as_nanos();
        prop_assert!(newest <= now, "it was not charged later");
        let left: Vec<_> = subject.peek(now, 0).quotas().collect();
        let then = stepped_back(now, subject.longest_wait(), kind, size).max(newest);
        let cost = if charge { subject.remaining(then) } else { 0 };
        subject.at(then, cost);
        // Also where the clock goes on that was ahead.
        for (after, before) in subject.peek(now, 0).quotas().zip(&left) {
            prop_assert!(after.remaining <= before.remaining, "{:?} {:?}", after, before);
        }
    }

    #[test]
    fn a_step_forward_is_time_that_passed(
        algorithm in algorithm(),
        limits in some_limits(),
        start in start(),
        calls in Call::several(16),
        years in 1..300_u64,
    ) {
        let fresh = Subject::of(algorithm, &limits);
        let mut subject = fresh.clone();
        let mut now = start;
        subject.play_all(&mut now, &calls);
        let then = now + subject.longest_wait() + years * 31_557_600_000_000_000;
        let then = Timestamp::from_nanos(then).as_nanos();
        if then > now + subject.longest_wait() {
            prop_assert!(subject.peek(then, 0).quotas().eq(fresh.peek(then, 0).quotas()));
        }
    }
}

#[test]
fn a_bucket_whose_clock_stepped_back_is_at_worst_empty() {
    // 10/m: full again 6 s after the first call. An hour earlier it is empty, no worse.
    let mut subject = Subject::new(Algorithm::TokenBucket, "10/m");
    let hour = 3_600_000_000_000;
    subject.at(2 * hour, 1);
    let denied = subject.at(hour, 1);
    assert_eq!(denied.remaining(), 0);
    assert_eq!(denied.retry_after(), Duration::from_secs(6));
    assert_eq!(denied.reset_after(), Duration::from_mins(1));
    assert!(subject.at(hour + 6_000_000_000, 1).is_allowed());
}

#[test]
fn a_window_whose_clock_stepped_back_takes_its_count_along() {
    for algorithm in [
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
        Algorithm::SlidingWindowCounter,
    ] {
        let mut subject = Subject::new(algorithm, "10/m");
        let hour = 3_600_000_000_000;
        subject.at(2 * hour, 7);
        assert_eq!(subject.remaining(hour), 3, "{algorithm}");
        assert!(!subject.at(hour, 4).is_allowed(), "{algorithm}");
        assert!(subject.at(hour, 3).is_allowed(), "{algorithm}");
        // The repaired state goes on from there.
        assert_eq!(subject.remaining(hour + 120_000_000_000), 10, "{algorithm}");
    }
}

#[test]
fn calls_that_a_step_back_moves_to_the_epoch_are_one_entry() {
    let mut subject = Subject::new(Algorithm::SlidingWindow, "10/m");
    subject.at(0, 1);
    subject.at(1, 3);
    assert!(!subject.at(0, 7).is_allowed());
    assert_eq!(subject.remaining(0), 6);
    let mut bytes = Vec::new();
    subject.state.encode(&mut bytes);
    assert_eq!(KeyState::decode(&bytes), Ok(subject.state.clone()));
    assert_eq!(subject.remaining(60_000_000_000), 10);
}

#[test]
fn a_counter_whose_clock_stepped_back_takes_both_counts_along_in_full() {
    // 10/m, eight calls in one minute, and one in the next: 8 × 0.75 + 1 units count fifteen
    // seconds into it. A clock that then says the last second of an earlier minute must not weigh
    // the eight with a sixtieth.
    let mut subject = Subject::new(Algorithm::SlidingWindowCounter, "10/m");
    let minute = 60_000_000_000;
    subject.at(100 * minute, 8);
    assert!(subject.at(101 * minute + 15_000_000_000, 1).is_allowed());
    assert_eq!(subject.remaining(101 * minute + 15_000_000_000), 3);
    assert_eq!(subject.remaining(100 * minute + 59_000_000_000), 1);
}

proptest! {
    #![proptest_config(cases(600))]

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
