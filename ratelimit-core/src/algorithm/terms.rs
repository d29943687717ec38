//! One limit in the ticks of one clock, and time in fractions of a tick.

use crate::rate::{NANOS_PER_SECOND, Rate};

/// An amount of time: whole ticks and `part / q` of one more, where `q` belongs to the
/// [`Terms`] that it was measured with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Whole ticks.
    pub whole: u64,
    /// The numerator of the rest, below `q`.
    pub part: u32,
}

impl Span {
    /// The least number of whole ticks that is not shorter.
    pub const fn ceil(self) -> u64 {
        self.whole.saturating_add((self.part > 0) as u64)
    }

    /// The two spans after each other.
    pub(crate) const fn plus(self, other: Self, q: u32) -> Self {
        let part = self.part as u64 + other.part as u64;
        let carry = part >= q as u64;
        Self {
            whole: self
                .whole
                .saturating_add(other.whole)
                .saturating_add(carry as u64),
            part: narrow(if carry { part - q as u64 } else { part }),
        }
    }

    /// What remains of this span after `other`; nothing when `other` is longer.
    pub(crate) const fn minus(self, other: Self, q: u32) -> Self {
        if self.whole < other.whole || (self.whole == other.whole && self.part < other.part) {
            return Self { whole: 0, part: 0 };
        }
        if self.part >= other.part {
            Self {
                whole: self.whole - other.whole,
                part: self.part - other.part,
            }
        } else {
            let part = q as u64 + self.part as u64 - other.part as u64;
            Self {
                whole: self.whole - other.whole - 1,
                part: narrow(part),
            }
        }
    }
}

/// A limit in ticks, with what the bucket algorithms need worked out once.
///
/// The interval of a rate, `period / limit`, is seldom a whole number of ticks: it is kept as
/// whole ticks and a remainder in `1/q` tick, with `q = limit / gcd(limit, period)`, so that sums
/// of it are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Units that a window allows.
    pub limit: u32,
    /// Units that a bucket holds.
    pub burst: u32,
    /// The denominator of every [`Span::part`] of these terms.
    pub q: u32,
    /// The period.
    pub period: u64,
    /// The time in which one unit is refilled.
    pub interval: Span,
    /// The time in which an empty bucket is filled.
    pub fill: Span,
}

impl Terms {
    pub(crate) const fn new(rate: Rate, burst: u32, ticks_per_second: u64) -> Self {
        // Exact for every tick that divides a millisecond: the period is whole milliseconds.
        let period = rate.period_nanos() as u128 * ticks_per_second as u128;
        #[allow(clippy::cast_possible_truncation)] // ticks are at least a nanosecond
        let period = (period / NANOS_PER_SECOND as u128) as u64;
        let limit = rate.limit();
        let q = limit / gcd(limit, period);
        let mut terms = Self {
            limit,
            burst,
            q,
            period,
            interval: Span { whole: 0, part: 0 },
            fill: Span { whole: 0, part: 0 },
        };
        terms.interval = terms.time_of_reduced(1);
        terms.fill = terms.time_of_reduced(burst);
        terms
    }

    /// The time in which `units` are refilled.
    pub const fn time_of(&self, units: u32) -> Span {
        if units == 1 {
            return self.interval;
        }
        let parts = units as u64 * self.interval.part as u64;
        let whole = (self.interval.whole as u128) * (units as u128);
        #[allow(clippy::cast_possible_truncation)] // saturated just before
        let whole = if whole > u64::MAX as u128 {
            u64::MAX
        } else {
            whole as u64
        };
        if parts == 0 {
            return Span { whole, part: 0 };
        }
        let q = self.q as u64;
        Span {
            whole: whole.saturating_add(parts / q),
            part: narrow(parts % q),
        }
    }

    const fn time_of_reduced(&self, units: u32) -> Span {
        // units * period / limit, with the remainder over limit reduced to one over q.
        let total = units as u128 * self.period as u128;
        let limit = self.limit as u128;
        let divisor = (self.limit / self.q) as u128;
        let whole = total / limit;
        #[allow(clippy::cast_possible_truncation)] // saturated; a remainder is below the limit
        let (whole, part) = (
            if whole > u64::MAX as u128 {
                u64::MAX
            } else {
                whole as u64
            },
            (total % limit / divisor) as u32,
        );
        Span { whole, part }
    }

    /// How many whole units are refilled within `time`, at most `u32::MAX`.
    pub(crate) const fn units_in(&self, time: Span) -> u32 {
        if self.q == 1 {
            // Most rates: dividing half as wide takes a third of the time.
            return saturated((time.whole / self.interval.whole) as u128);
        }
        let q = self.q as u128;
        let interval = self.interval.whole as u128 * q + self.interval.part as u128;
        let time = time.whole as u128 * q + time.part as u128;
        if time < u64::MAX as u128 {
            #[allow(clippy::cast_possible_truncation)] // an interval is no longer, or the answer 0
            let (time, interval) = (time as u64, saturated_wide(interval));
            return saturated((time / interval) as u128);
        }
        saturated(time / interval)
    }
}

#[allow(clippy::cast_possible_truncation)] // compared just before
const fn saturated(units: u128) -> u32 {
    if units > u32::MAX as u128 {
        u32::MAX
    } else {
        units as u32
    }
}

#[allow(clippy::cast_possible_truncation)] // compared just before
const fn saturated_wide(parts: u128) -> u64 {
    if parts > u64::MAX as u128 {
        u64::MAX
    } else {
        parts as u64
    }
}

#[allow(clippy::cast_possible_truncation)] // callers pass what lies below a u32
const fn narrow(value: u64) -> u32 {
    value as u32
}

const fn gcd(a: u32, b: u64) -> u32 {
    let (mut a, mut b) = (a as u64, b % a as u64);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    narrow(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str, burst: u32, ticks: u64) -> Terms {
        Terms::new(text.parse().unwrap(), burst, ticks)
    }

    #[test]
    fn intervals_are_exact() {
        let nano = NANOS_PER_SECOND;
        assert_eq!(
            terms("10/m", 10, nano).interval,
            Span {
                whole: 6_000_000_000,
                part: 0
            }
        );
        assert_eq!(terms("10/m", 10, nano).q, 1);
        let third = terms("3/s", 3, nano);
        assert_eq!(
            (third.interval, third.q),
            (
                Span {
                    whole: 333_333_333,
                    part: 1
                },
                3
            )
        );
        assert_eq!(
            third.fill,
            Span {
                whole: 1_000_000_000,
                part: 0
            }
        );
        let seven = terms("7/4w", 7, nano);
        assert_eq!(seven.q, 1, "28 days divide by seven");
        let prime = terms("9_999_991/s", 1, nano);
        assert_eq!(
            (prime.q, prime.interval),
            (
                9_999_991,
                Span {
                    whole: 100,
                    part: 900
                }
            )
        );
        // A tick longer than the interval leaves no whole tick.
        assert_eq!(
            terms("2000/s", 1, 1_000).interval,
            Span { whole: 0, part: 1 }
        );
    }

    #[test]
    fn sums_of_the_interval_are_the_period() {
        for text in [
            "3/s",
            "9_999_991/s",
            "7/4w",
            "977/ms",
            "11/366d",
            "4294967295/5s",
        ] {
            let terms = terms(text, 1, NANOS_PER_SECOND);
            assert_eq!(
                terms.time_of(terms.limit),
                Span {
                    whole: terms.period,
                    part: 0
                },
                "{text}"
            );
            let mut sum = Span::default();
            for _ in 0..1000.min(terms.limit) {
                sum = sum.plus(terms.interval, terms.q);
            }
            assert_eq!(sum, terms.time_of(1000.min(terms.limit)), "{text}");
            assert_eq!(terms.units_in(sum), 1000.min(terms.limit), "{text}");
            assert_eq!(sum.minus(sum, terms.q), Span::default());
        }
    }

    #[test]
    fn a_unit_is_only_in_a_time_that_is_long_enough() {
        let terms = terms("3/s", 3, NANOS_PER_SECOND);
        assert_eq!(
            terms.units_in(Span {
                whole: 333_333_333,
                part: 0
            }),
            0
        );
        assert_eq!(
            terms.units_in(Span {
                whole: 333_333_333,
                part: 1
            }),
            1
        );
        assert_eq!(
            terms.units_in(Span {
                whole: 666_666_666,
                part: 1
            }),
            1
        );
        assert_eq!(
            terms.units_in(Span {
                whole: 666_666_667,
                part: 0
            }),
            2
        );
    }
}
