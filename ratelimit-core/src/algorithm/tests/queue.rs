//! The leaky bucket as a queue: calls that may wait come out evenly spaced.

use core::time::Duration;

use proptest::prelude::*;

use super::random::{Call, NASTY, one_limit, some_limits, start};
use super::{Algorithm, NOON, SECOND, Subject, Timestamp, nanos};
use crate::cases::cases;
use crate::decision::{Decision, Outcome};
use crate::limits::Limits;

impl Subject {
    fn queue(&mut self, now: u64, cost: u32, max_delay: u64) -> Decision {
        let mut state = self.state.clone();
        let check = self.check().with_cost(cost);
        let check = check.with_max_delay(Duration::from_nanos(max_delay));
        let decision = state.decide(&check, Timestamp::from_nanos(now));
        self.state = state;
        decision
    }
}

#[test]
fn calls_leave_one_interval_after_each_other() {
    // 3/s: a third of a second is no whole number of nanoseconds, and nobody leaves early.
    let mut queue = Subject::new(Algorithm::LeakyBucket, "3/s");
    let leaves: Vec<_> = (0..4).map(|_| queue.queue(NOON, 1, SECOND)).collect();
    let delays: Vec<_> = leaves.iter().map(|call| nanos(call.delay())).collect();
    assert_eq!(delays, [0, 333_333_334, 666_666_667, 0]);
    assert_eq!(
        leaves[3].outcome(),
        Outcome::Denied,
        "three are all it holds"
    );
    assert_eq!(nanos(leaves[3].retry_after()), 333_333_334);
}

#[test]
fn a_call_of_several_units_leaves_when_those_before_it_have_leaked() {
    let mut queue = Subject::new(Algorithm::LeakyBucket, "10/s");
    assert_eq!(queue.queue(NOON, 4, SECOND).outcome(), Outcome::Allowed);
    assert_eq!(
        queue.queue(NOON, 3, SECOND).delay(),
        Duration::from_millis(400)
    );
    assert_eq!(
        queue.queue(NOON, 3, SECOND).delay(),
        Duration::from_millis(700)
    );
    assert_eq!(queue.queue(NOON, 1, SECOND).outcome(), Outcome::Denied);
}

#[test]
fn of_several_rates_the_longest_delay_counts() {
    // After one unit the first rate wants a second, and the second rate six tenths of one.
    let limits: Limits = "1/s, 100/m".parse().unwrap();
    let limits = limits.with_bursts(&[5, 100]).unwrap();
    let mut queue = Subject::of(Algorithm::LeakyBucket, &limits);
    let delays = [(); 3].map(|()| queue.queue(NOON, 1, 5 * SECOND).delay().as_secs());
    assert_eq!(delays, [0, 1, 2]);
    assert_eq!(queue.queue(NOON, 1, 2 * SECOND).retry_after().as_secs(), 1);
}

#[test]
fn other_algorithms_decide_for_now() {
    for algorithm in Algorithm::ALL {
        let mut subject = Subject::new(algorithm, "2/s");
        let outcomes = [(); 3].map(|()| subject.queue(NOON, 1, SECOND).outcome());
        let second = match algorithm {
            Algorithm::LeakyBucket => Outcome::AllowedAfter(Duration::from_millis(500)),
            _ => Outcome::Allowed,
        };
        assert_eq!(
            outcomes,
            [Outcome::Allowed, second, Outcome::Denied],
            "{algorithm}"
        );
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn a_waiting_call_leaves_when_the_bucket_before_it_has_leaked(
        limits in one_limit(),
        start in start(),
        calls in Call::busy(),
        sixteenths in 1..20_u64,
    ) {
        // The reference: units in the bucket, times the period.
        let rate = limits.as_slice()[0].rate();
        let (period, limit) = (rate.period().as_nanos(), u128::from(rate.limit()));
        let mut queue = Subject::of(Algorithm::LeakyBucket, &limits);
        let full = u128::from(queue.capacity()) * period;
        let max_delay = (queue.longest_wait() / 16).saturating_mul(sixteenths) + 1;
        let (mut now, mut last, mut level, mut since) = (start, None, 0_u128, start);
        let mut left_last = 0;
        for call in calls {
            let cost = call.pass(&mut now, &queue, last.as_ref());
            level = level.saturating_sub(u128::from(now - since) * limit);
            since = now;
            let decision = queue.queue(now, cost, max_delay);
            let added = u128::from(cost) * period;
            let delay = u64::try_from(level.div_ceil(limit)).unwrap();
            if cost == 0 {
                prop_assert_eq!(decision.outcome(), Outcome::Allowed);
            } else if level + added <= full && delay <= max_delay {
                prop_assert!(decision.is_allowed());
                prop_assert_eq!(nanos(decision.delay()), delay);
                prop_assert!(now + delay >= left_last, "in order");
                left_last = now + delay;
                level += added;
            } else {
                prop_assert_eq!(decision.outcome(), Outcome::Denied);
            }
            prop_assert_eq!(u128::from(decision.remaining()), (full - level) / period);
            last = Some(decision);
        }
    }

    #[test]
    fn a_call_that_would_wait_too_long_is_told_when_it_would_not(
        limits in some_limits(),
        start in start(),
        calls in Call::busy(),
        sixteenths in 1..20_u64,
    ) {
        let mut queue = Subject::of(Algorithm::LeakyBucket, &limits);
        let max_delay = (queue.longest_wait() / 16).saturating_mul(sixteenths) + 1;
        let (mut now, mut last) = (start, None);
        for call in calls {
            let cost = call.pass(&mut now, &queue, last.as_ref());
            let before = queue.state.clone();
            let decision = queue.queue(now, cost, max_delay);
            prop_assert!(nanos(decision.delay()) <= max_delay);
            if !decision.is_allowed() && cost <= queue.capacity() {
                let retry = nanos(decision.retry_after());
                prop_assert!(retry > 0);
                prop_assert!(!queue.clone().queue(now + retry - 1, cost, max_delay).is_allowed());
                prop_assert!(queue.clone().queue(now + retry, cost, max_delay).is_allowed());
                if last.is_some() {
                    prop_assert_eq!(&queue.state, &before, "a denial writes nothing");
                }
            }
            last = Some(decision);
        }
    }
}

#[test]
fn a_queue_that_is_always_full_lets_calls_out_at_the_rate() {
    for text in NASTY {
        let mut queue = Subject::new(Algorithm::LeakyBucket, text);
        let rate = queue.policy.limits().as_slice()[0].rate();
        let (period, limit) = (rate.period().as_nanos(), u128::from(rate.limit()));
        let max_delay = queue.longest_wait();
        let mut now = NOON;
        for call in 0..20_000_u128 {
            let mut decision = queue.queue(now, 1, max_delay);
            if !decision.is_allowed() {
                now += nanos(decision.retry_after());
                decision = queue.queue(now, 1, max_delay);
            }
            let leaves = u128::from(now - NOON) + decision.delay().as_nanos();
            // Those of a bucket of one leave at whole ticks, and the next is counted from there.
            if limit > 1 {
                assert_eq!(
                    leaves,
                    (call * period).div_ceil(limit),
                    "{text}: call {call}"
                );
            }
            if Timestamp::from_nanos(now) == Timestamp::MAX {
                break;
            }
        }
    }
}
