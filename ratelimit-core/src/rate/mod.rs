//! [`Rate`]: a limit per period, and the one grammar in which rates are written; [`Wait`] is written
//! in the part of it that is a period.

mod fault;
mod grammar;
mod wait;

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

pub use fault::{RateError, RateFault, RateFaultKind};
pub(crate) use grammar::parse_list;
pub use wait::{MAX_WAIT, MIN_WAIT, Wait, WaitError, WaitFault, WaitFaultKind};

/// The shortest period of a rate: one millisecond.
pub const MIN_PERIOD: Duration = Duration::from_millis(1);
/// The longest period of a rate: 366 days.
pub const MAX_PERIOD: Duration = Duration::from_hours(366 * 24);
/// The most units that a rate may allow per second.
pub const MAX_PER_SECOND: u32 = 1_000_000_000;

const NANOS_PER_MILLI: u64 = 1_000_000;
pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A limit per period: `10/m` is ten units a minute.
///
/// How a rate is enforced is the [`Algorithm`](crate::Algorithm)'s business.
///
/// # Grammar
///
/// `LIMIT "/" [COUNT] UNIT`, where `LIMIT` and `COUNT` are whole positive numbers in which `_` may
/// separate digits, and `UNIT` is one of `ms`, `s`, `sec`, `second(s)`, `m`, `min`, `minute(s)`,
/// `h`, `hr`, `hour(s)`, `d`, `day(s)`, `w`, `week(s)`. Blanks around the parts are allowed.
///
/// The limit fits a `u32`, the period lies between [`MIN_PERIOD`] and [`MAX_PERIOD`], and the rate
/// is at most [`MAX_PER_SECOND`].
///
/// ```
/// use core::time::Duration;
/// use ratelimit_core::Rate;
///
/// let rate: Rate = "100/30s".parse()?;
/// assert_eq!((rate.limit(), rate.period()), (100, Duration::from_secs(30)));
///
/// // The same, while compiling.
/// const LOGIN: Rate = match Rate::parse("10/m") {
///     Ok(rate) => rate,
///     Err(_) => panic!("not a rate"),
/// };
/// assert_eq!(LOGIN.to_string(), "10/m");
///
/// let error = "10/fortnight".parse::<Rate>().unwrap_err();
/// assert_eq!(error.fault().start(), 3);
/// # Ok::<(), ratelimit_core::RateError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    limit: u32,
    /// Nanoseconds; a whole number of milliseconds.
    period: u64,
}

impl Rate {
    /// A rate of `limit` units per `period`.
    ///
    /// Fails when a bound of the [grammar](Rate#grammar) is not kept, or when the period is not a
    /// whole number of milliseconds (stores count in ticks of up to one millisecond).
    pub const fn new(limit: u32, period: Duration) -> Result<Self, RateFaultKind> {
        let nanos = period.as_nanos();
        if nanos > MAX_PERIOD.as_nanos() {
            return Err(RateFaultKind::PeriodTooLong);
        }
        if nanos < MIN_PERIOD.as_nanos() {
            return Err(RateFaultKind::PeriodTooShort);
        }
        #[allow(clippy::cast_possible_truncation)] // at most MAX_PERIOD, which fits
        let nanos = nanos as u64;
        if !nanos.is_multiple_of(NANOS_PER_MILLI) {
            return Err(RateFaultKind::PeriodNotWhole);
        }
        if limit == 0 {
            return Err(RateFaultKind::ZeroLimit);
        }
        // limit / nanos > MAX_PER_SECOND / 10^9, and MAX_PER_SECOND is 10^9.
        if limit as u64 > nanos {
            return Err(RateFaultKind::TooFast);
        }
        Ok(Self {
            limit,
            period: nanos,
        })
    }

    /// Reads one rate, as the [grammar](Rate#grammar) says; usable in `const`.
    ///
    /// [`FromStr`] does the same and keeps the text for its message.
    pub const fn parse(text: &str) -> Result<Self, RateFault> {
        grammar::parse_one(text.as_bytes())
    }

    /// How many units each period allows.
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// The period.
    pub const fn period(self) -> Duration {
        Duration::from_nanos(self.period)
    }

    pub(crate) const fn period_nanos(self) -> u64 {
        self.period
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::parse(text).map_err(|fault| RateError::new(text, fault))
    }
}

/// The shortest text that parses to this rate.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut count, mut unit) = (self.period / NANOS_PER_MILLI, "ms");
        for (name, millis) in [
            ("w", 604_800_000),
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
        ] {
            if count.is_multiple_of(millis) {
                (count, unit) = (count / millis, name);
                break;
            }
        }
        write!(f, "{}/", self.limit)?;
        if count != 1 {
            write!(f, "{count}")?;
        }
        f.write_str(unit)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate({self})")
    }
}

#[cfg(test)]
mod tests;
