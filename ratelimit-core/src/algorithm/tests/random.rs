//! Random limits, and random calls that are said in terms of them, so that they meet boundaries
//! often: of a period, of an interval, of the last answer.

use core::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};

use super::{Algorithm, Decision, Limits, NOON, Subject, Timestamp, nanos};
use crate::limits::{Limit, MAX_LIMITS};
use crate::rate::Rate;

/// Rates whose interval is no whole number of nanoseconds, or that lie at a bound.
pub(super) const NASTY: [&str; 9] = [
    "9_999_991/s",
    "7/4w",
    "3/s",
    "1/4w",
    "10_000_000/s",
    "977/ms",
    "4294967295/5s",
    "1/366d",
    "7/3ms",
];

/// So many cases, the same in every run, unless `PROPTEST_RNG_SEED` says otherwise.
pub(super) fn cases(count: u32) -> Config {
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x5eed),
        given @ RngSeed::Fixed(_) => given,
    };
    Config {
        cases: count,
        failure_persistence: None,
        rng_seed,
        ..config
    }
}

impl Subject {
    pub(super) fn capacity(&self) -> u32 {
        self.check().capacity()
    }

    /// The longest that this policy could ever make a call wait that it can admit.
    pub(super) fn longest_wait(&self) -> u64 {
        let waits = self.policy.limits().as_slice().iter().map(|limit| {
            let terms = limit.terms();
            match self.policy.algorithm() {
                Algorithm::SlidingWindowCounter => 2 * terms.period,
                Algorithm::FixedWindow | Algorithm::SlidingWindow => terms.period,
                _ => terms.fill.ceil(),
            }
        });
        waits.max().unwrap()
    }

    /// Lets the time of the call pass, and makes it; answers its cost, too.
    pub(super) fn play(
        &mut self,
        now: &mut u64,
        call: Call,
        last: Option<&Decision>,
    ) -> (u32, Decision) {
        let cost = call.pass(now, self, last);
        (cost, self.at(*now, cost))
    }

    /// Plays all of them.
    pub(super) fn play_all(&mut self, now: &mut u64, calls: &[Call]) {
        let mut last = None;
        for call in calls {
            last = Some(self.play(now, *call, last.as_ref()).1);
        }
    }
}

/// A call some time after the one before, said in terms of the limits that it will meet, so that
/// random ones hit boundaries often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    gap: u8,
    size: u16,
    cost: u8,
    rate: u8,
}

impl Call {
    pub(super) fn any() -> impl Strategy<Value = Self> + Clone {
        (0..12_u8, any::<u16>(), 0..12_u8, 0..4_u8).prop_map(|(gap, size, cost, rate)| Self {
            gap,
            size,
            cost,
            rate,
        })
    }

    pub(super) fn several(count: usize) -> impl Strategy<Value = Vec<Self>> + Clone {
        prop::collection::vec(Self::any(), 1..=count)
    }

    /// A busy history: mostly small steps, so that intervals hold many calls.
    pub(super) fn busy() -> impl Strategy<Value = Vec<Self>> + Clone {
        let busy = Self::any().prop_map(|call| Self {
            gap: if call.gap == 9 { 4 } else { call.gap },
            ..call
        });
        prop::collection::vec(busy, 1..=60)
    }

    /// Lets its time pass; answers its cost.
    pub(super) fn pass(self, now: &mut u64, subject: &Subject, last: Option<&Decision>) -> u32 {
        *now = self.after(*now, subject.policy.limits(), last);
        self.cost(subject.capacity())
    }

    fn after(self, now: u64, limits: &Limits, last: Option<&Decision>) -> u64 {
        let limits = limits.as_slice();
        let terms = limits[usize::from(self.rate) % limits.len()].terms();
        let part =
            |of: u64| u64::try_from(u128::from(of) * u128::from(self.size) / 65_536).unwrap();
        let around = |middle: u64| (middle + u64::from(self.size % 3)).saturating_sub(1);
        let gap = match self.gap {
            0..=2 => 0,
            3 => 1,
            4 => around(terms.interval.whole),
            5 => part(terms.interval.whole.saturating_mul(4)),
            6 => part(terms.period),
            7 => around(terms.period - now % terms.period),
            8 => around(terms.period),
            9 => part(2 * terms.period),
            10 => part(terms.fill.whole),
            _ => match last {
                Some(last) if last.retry_after() < Duration::from_hours(200 * 366 * 24) => {
                    around(nanos(last.retry_after()))
                }
                _ => 0,
            },
        };
        Timestamp::from_nanos(now + gap).as_nanos()
    }

    fn cost(self, capacity: u32) -> u32 {
        let part = u64::from(capacity) * u64::from(self.size) / 65_536;
        match self.cost {
            0 => 0,
            1..=4 => 1,
            5 => 1 + u32::from(self.size % 3),
            6..=8 => u32::try_from(part).unwrap(),
            9 => capacity,
            10 => capacity.saturating_add(1),
            _ => u32::MAX,
        }
    }
}

pub(super) fn algorithm() -> impl Strategy<Value = Algorithm> {
    select(&Algorithm::ALL[..])
}

pub(super) fn bucket() -> impl Strategy<Value = Algorithm> {
    select(vec![
        Algorithm::TokenBucket,
        Algorithm::LeakyBucket,
        Algorithm::Gcra,
    ])
}

fn rate() -> impl Strategy<Value = Rate> {
    let small = (1..=20_u32, 1..=60_u64);
    prop_oneof![
        3 => small.prop_map(|(limit, period)| {
            Rate::new(limit, Duration::from_millis(period)).unwrap()
        }),
        2 => select(&NASTY[..]).prop_map(|text| text.parse().unwrap()),
    ]
}

pub(super) fn limit() -> impl Strategy<Value = Limit> {
    let bursts = prop_oneof![2 => Just(None), 1 => (1..=40_u32).prop_map(Some)];
    (rate(), bursts).prop_map(|(rate, burst)| {
        let limit = Limit::new(rate);
        burst.map_or(limit, |burst| limit.with_burst(burst).unwrap())
    })
}

pub(super) fn one_limit() -> impl Strategy<Value = Limits> {
    limit().prop_map(Limits::from)
}

pub(super) fn some_limits() -> impl Strategy<Value = Limits> {
    prop::collection::vec(limit(), 1..=MAX_LIMITS)
        .prop_map(|limits| Limits::several(&limits).unwrap())
}

/// Where a history starts: at the epoch, just after it, and nowadays.
pub(super) fn start() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..100_000_000_u64, NOON..NOON + 100_000_000_000,]
}
