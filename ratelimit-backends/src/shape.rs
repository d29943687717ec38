//! [`Shape`]: which statement decides a check, and [`Numbers`]: what that statement is told of it.

use ratelimit_core::algorithm::Span;
use ratelimit_core::{Algorithm, Check};

/// How a rate's state becomes what is used of it, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    Bucket,
    Fixed,
    Counter,
}

impl Family {
    /// None for what is no number.
    fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::TokenBucket | Algorithm::Gcra | Algorithm::LeakyBucket => Some(Self::Bucket),
            Algorithm::FixedWindow => Some(Self::Fixed),
            Algorithm::SlidingWindowCounter => Some(Self::Counter),
            _ => None,
        }
    }

    /// That of the algorithm of this number.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        let known = Algorithm::ALL.into_iter();
        Self::of(known.into_iter().find(|it| it.number() == number)?)
    }
}

/// What checks have in common that one statement decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) algorithm: Algorithm,
    pub(crate) family: Family,
    /// One to four.
    pub(crate) rates: usize,
    /// Whether calls can be let in later.
    pub(crate) delayed: bool,
    /// Whether all that is worked out fits 64 bits.
    pub(crate) narrow: bool,
}

/// What a statement is told of one rate: numbers that are multiplied here, so that it only compares, adds and divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Numbers {
    /// Nanoseconds.
    pub(crate) period: u64,
    /// In how many parts a nanosecond is divided, for buckets.
    pub(crate) q: u32,
    /// How much fits at all: of buckets, time in parts; of windows, units; of two windows, units times the period.
    pub(crate) capacity: u128,
    /// How much of it one call takes.
    pub(crate) takes: u128,
}

/// What no statement can have the time of: a century.
const LONGEST: u64 = 100 * 366 * 24 * 3_600 * 1_000_000_000;

/// A quarter of what 64 bits with a sign hold: sums of two such numbers do not overflow.
pub(crate) const NARROW: u64 = 1 << 61;

impl Shape {
    /// That of a check, if a statement can decide it.
    pub(crate) fn of(check: &Check<'_>) -> Option<Self> {
        let algorithm = check.policy.algorithm();
        let limits = check.limits.as_slice();
        let family = Family::of(algorithm)?;
        let mut terms = limits.iter().map(ratelimit_core::Limit::terms);
        let short = terms.all(|it| family != Family::Bucket || it.fill.whole <= LONGEST);
        let twice = (1..limits.len()).any(|rate| {
            let period = limits[rate].terms().period;
            limits[..rate].iter().any(|it| it.terms().period == period)
        });
        let delayed = algorithm == Algorithm::LeakyBucket && !check.max_delay.is_zero();
        let mut shape = Self {
            algorithm,
            family,
            rates: limits.len(),
            delayed,
            narrow: false,
        };
        let delay = if delayed { u128::from(delay(check)) } else { 0 };
        shape.narrow = limits.iter().all(|limit| {
            let numbers = shape.numbers_of(limit, check.cost);
            let later = delay * u128::from(numbers.q);
            numbers.capacity.max(later) < NARROW.into()
        });
        (check.cost > 0 && short && !twice).then_some(shape)
    }

    /// What a statement is told of each rate of a check.
    pub(crate) fn numbers(self, check: &Check<'_>) -> Vec<Numbers> {
        let rates = check.limits.as_slice().iter();
        rates
            .map(|limit| self.numbers_of(limit, check.cost))
            .collect()
    }

    fn numbers_of(self, limit: &ratelimit_core::Limit, cost: u32) -> Numbers {
        let terms = limit.terms();
        let (limit, period) = (u128::from(terms.limit), u128::from(terms.period));
        let parts =
            |span: Span| u128::from(span.whole) * u128::from(terms.q) + u128::from(span.part);
        let (capacity, takes) = match self.family {
            Family::Bucket => (parts(terms.fill), parts(terms.time_of(cost))),
            Family::Fixed => (limit, cost.into()),
            Family::Counter => (limit * period, u128::from(cost) * period),
        };
        Numbers {
            period: terms.period,
            q: terms.q,
            capacity,
            takes,
        }
    }
}

/// How long a call may be delayed, in nanoseconds: no longer than anything lasts.
pub(crate) fn delay(check: &Check<'_>) -> u64 {
    let delay = u64::try_from(check.max_delay.as_nanos()).unwrap_or(u64::MAX);
    delay.min(LONGEST)
}
