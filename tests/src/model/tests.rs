//! The model against what is more obvious still: a tick at a time, nothing found by halving.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};
use ratelimit_core::{KeyRef, Limit, Limits, Policy, Rate};

use core::time::Duration;

use super::*;

/// Rates have whole milliseconds for periods; a tick of one makes them short.
const TICK: u64 = 1_000_000;

fn at(tick: u64) -> Timestamp {
    Timestamp::from_nanos(tick * TICK)
}

/// One rate of small numbers, and what was admitted at each tick.
#[derive(Clone, Debug)]
struct Plain {
    algorithm: Algorithm,
    limit: u64,
    burst: u64,
    period: u64,
    admitted: Vec<(u64, u64)>,
}

impl Plain {
    /// The sum of what was admitted in a range of ticks.
    fn sum(&self, from: u64, to: u64) -> u64 {
        let within = self
            .admitted
            .iter()
            .filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, cost)| cost).sum()
    }

    /// What counts, times the period.
    fn used(&self, now: u64) -> u64 {
        let (period, start) = (self.period, now - now % self.period);
        match self.algorithm {
            Algorithm::FixedWindow => self.sum(start, start + period) * period,
            Algorithm::SlidingWindow => {
                self.sum((now + 1).saturating_sub(period), now + 1) * period
            }
            Algorithm::SlidingWindowCounter => {
                let previous = self.sum(start.saturating_sub(period), start);
                self.sum(start, start + period) * period + previous * (start + period - now)
            }
            _ => {
                // Each tick refills `limit` of the `period` parts of a unit.
                let mut used: u64 = 0;
                for tick in 0..=now {
                    used = used.saturating_sub(if tick > 0 { self.limit } else { 0 });
                    used += self.sum(tick, tick + 1) * period;
                }
                used
            }
        }
    }

    fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket | Algorithm::Gcra => self.burst,
            _ => self.limit,
        }
    }

    fn fits(&self, now: u64, cost: u64) -> bool {
        self.used(now) + cost * self.period <= self.capacity() * self.period
    }
}

fn config() -> Config {
    Config {
        cases: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_number_is_what_counting_says(
        algorithm in select(&Algorithm::ALL[..]),
        limit in 1..5_u32,
        burst in 1..7_u32,
        period in 1..12_u64,
        calls in prop::collection::vec((0..6_u64, 0..5_u32), 1..12),
    ) {
        let rate = Rate::new(limit, Duration::from_millis(period)).unwrap();
        let policy = Policy::named("plain".into(), algorithm, Limit::new(rate).with_burst(burst).unwrap().into());
        let mut plain = Plain {
            algorithm,
            limit: limit.into(),
            burst: burst.into(),
            period,
            admitted: Vec::new(),
        };
        let mut model = Model::new(TICK);
        let mut now = 0;
        for (pause, cost) in calls {
            now += pause;
            let check = Check::new(&policy, policy.limits(), KeyRef::from_bytes(b"key"));
            let capacity = u32::try_from(plain.capacity()).unwrap();
            let check = check.with_cost(cost.min(capacity));
            let cost = u64::from(check.cost);
            let allowed = plain.fits(now, cost);
            let answer = model.decide(&[check], Join::Each, at(now)).remove(0).unwrap();
            prop_assert_eq!(answer.is_allowed(), allowed || cost == 0);
            if allowed && cost > 0 {
                plain.admitted.push((now, cost));
            }
            let quota = answer.quotas[0];
            let remaining = (0..=plain.capacity()).rev().find(|units| plain.fits(now, *units));
            prop_assert_eq!(u64::from(quota.remaining), remaining.unwrap());
            let first = |holds: &dyn Fn(u64) -> bool| (0..1_000).find(|ticks| holds(now + ticks)).unwrap();
            let reset_after = first(&|tick| plain.used(tick) == 0);
            prop_assert_eq!(quota.reset_after, Duration::from_nanos(reset_after * TICK));
            let retry_after = if allowed { 0 } else { first(&|tick| plain.fits(tick, cost)) };
            prop_assert_eq!(quota.retry_after, Duration::from_nanos(retry_after * TICK));
            // And the same call alone says so itself.
            let admits = |tick| model.clone().decide(&[check], Join::Each, at(tick))[0].clone().unwrap().is_allowed();
            if !allowed {
                prop_assert!(admits(now + retry_after));
                prop_assert!(!admits(now + retry_after - 1));
            }
        }
    }
}

#[test]
fn numbers_are_found_by_what_holds() {
    for edge in [0, 1, 2, 3, 7, 8, 9, 1_000_003] {
        assert_eq!(rate::least(|number| number >= edge), edge);
        assert_eq!(rate::greatest(u128::MAX, |number| number <= edge), edge);
        assert_eq!(rate::greatest(5, |number| number <= edge), edge.min(5));
    }
}

/// Checks of one key under changing limits.
struct Subject(Model, Policy);

impl Subject {
    fn new(algorithm: Algorithm) -> Self {
        let limits: Limits = "10/10ms".parse().unwrap();
        Self(
            Model::new(TICK),
            Policy::named("subject".into(), algorithm, limits),
        )
    }

    /// What remains of each rate after a call.
    fn at(&mut self, tick: u64, limits: &str, cost: u32) -> Vec<u32> {
        let limits: Limits = limits.parse().unwrap();
        let check = Check::new(&self.1, &limits, KeyRef::from_bytes(b"key")).with_cost(cost);
        let answer = self
            .0
            .decide(&[check], Join::Each, at(tick))
            .remove(0)
            .unwrap();
        answer.quotas.iter().map(|quota| quota.remaining).collect()
    }
}

#[test]
fn a_clock_that_steps_back_takes_what_counts_along() {
    let mut fixed = Subject::new(Algorithm::FixedWindow);
    assert_eq!(fixed.at(25, "10/10ms", 4), [6]);
    assert_eq!(fixed.at(21, "10/10ms", 1), [5], "the same window");
    assert_eq!(fixed.at(19, "10/10ms", 1), [4], "an earlier one");
    assert_eq!(fixed.at(20, "10/10ms", 0), [10], "it is over");

    let mut counter = Subject::new(Algorithm::SlidingWindowCounter);
    assert_eq!(counter.at(15, "10/10ms", 4), [6]);
    assert_eq!(
        counter.at(25, "10/10ms", 3),
        [5],
        "two of the four still count"
    );
    assert_eq!(counter.at(20, "10/10ms", 0), [3], "all four");
    assert_eq!(counter.at(18, "10/10ms", 0), [3], "both counts, in full");
    assert_eq!(counter.at(19, "10/10ms", 0), [3]);
    assert_eq!(
        counter.at(25, "10/10ms", 0),
        [6],
        "seven, half a window later"
    );

    let mut log = Subject::new(Algorithm::SlidingWindow);
    assert_eq!(log.at(15, "10/10ms", 4), [6]);
    assert_eq!(log.at(20, "10/10ms", 3), [3]);
    assert_eq!(log.at(12, "10/10ms", 1), [2], "as if no time had passed");
    assert_eq!(
        log.at(17, "10/10ms", 0),
        [6],
        "the first entry was moved to 7"
    );

    let mut bucket = Subject::new(Algorithm::TokenBucket);
    assert_eq!(bucket.at(20, "10/10ms", 4), [6]);
    assert_eq!(bucket.at(18, "10/10ms", 0), [4], "two ticks more to wait");
    assert_eq!(bucket.at(2, "10/10ms", 0), [0], "at most empty");
    assert_eq!(bucket.at(12, "10/10ms", 0), [10], "which was stored");
}

#[test]
fn a_rate_of_a_new_period_starts_from_the_most_used() {
    let mut fixed = Subject::new(Algorithm::FixedWindow);
    assert_eq!(fixed.at(25, "10/10ms", 4), [6]);
    assert_eq!(fixed.at(26, "10/10ms, 20/20ms", 1), [5, 15]);
    assert_eq!(fixed.at(31, "20/20ms", 0), [15], "it goes on with its own");
    assert_eq!(
        fixed.at(32, "9/5ms", 0),
        [4],
        "from the longer period, which still counts"
    );

    let mut counter = Subject::new(Algorithm::SlidingWindowCounter);
    assert_eq!(counter.at(15, "10/10ms", 3), [7]);
    assert_eq!(counter.at(25, "10/7ms", 0), [8], "one and a half are two");

    let mut log = Subject::new(Algorithm::SlidingWindow);
    assert_eq!(log.at(15, "10/10ms", 3), [7]);
    assert_eq!(log.at(20, "10/10ms", 2), [5]);
    assert_eq!(log.at(26, "10/20ms", 0), [8], "what counts now");

    let mut bucket = Subject::new(Algorithm::TokenBucket);
    assert_eq!(bucket.at(20, "3/10ms", 1), [2]);
    // Three and a third ticks are four under a rate that counts in other fractions.
    assert_eq!(bucket.at(20, "7/7ms", 0), [3]);
    assert_eq!(bucket.at(20, "2/2ms", 0), [0], "at most empty");
}

#[test]
fn four_other_periods_are_kept() {
    let mut fixed = Subject::new(Algorithm::FixedWindow);
    for period in 10..=15 {
        fixed.at(60, &format!("99/{period}ms"), 1);
    }
    // Each new period starts from the most used one.
    assert_eq!(fixed.at(60, "99/15ms", 0), [93]);
    assert_eq!(fixed.at(60, "99/11ms", 0), [97], "the oldest that is kept");
    assert_eq!(
        fixed.at(60, "99/10ms", 0),
        [93],
        "forgotten: from the most used"
    );
}

#[test]
fn all_or_none_leaves_everything_as_it_was() {
    let policy = Policy::named(
        "batch".into(),
        Algorithm::FixedWindow,
        "3/10ms".parse::<Limits>().unwrap(),
    );
    let check = |key: &'static [u8], cost| {
        Check::new(&policy, policy.limits(), KeyRef::from_bytes(key)).with_cost(cost)
    };
    let mut model = Model::new(TICK);
    let batch = [
        check(b"a", 2),
        check(b"b", 1),
        check(b"a", 2),
        check(b"b", 3),
    ];
    let answers = model.decide(&batch, Join::All, at(0));
    let said: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            let answer = answer.unwrap();
            (
                answer.is_allowed(),
                answer.quotas[0].remaining,
                answer.quotas[0].retry_after.is_zero(),
            )
        })
        .collect();
    let fresh = (false, 3, true);
    assert_eq!(said, [fresh, fresh, (false, 1, false), fresh]);
    assert_eq!(model, Model::new(TICK));
    let too_much = [check(b"a", 2), check(b"b", 4)];
    let answers = model.decide(&too_much, Join::All, at(0));
    assert_eq!(answers[0].as_ref().map(Answer::is_allowed), Ok(false));
    assert_eq!(answers[1], Err(Refusal::Unsatisfiable));
    let fits = model.decide(&batch[..2], Join::All, at(0));
    assert!(
        fits.iter()
            .all(|answer| answer.as_ref().is_ok_and(Answer::is_allowed))
    );
    assert_eq!(
        model.peek(&batch[..1], at(0))[0].as_ref().unwrap().quotas[0].remaining,
        1
    );
}
