//! What can be wrong with the text of a rate, and where.

use core::fmt;

/// What is wrong with a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateFaultKind {
    /// There is no text.
    Empty,
    /// A limit was expected.
    ExpectedLimit,
    /// The number is not whole.
    Fraction,
    /// The number has a sign.
    Signed,
    /// A `_` does not stand between two digits.
    Separator,
    /// The limit is zero.
    ZeroLimit,
    /// The limit does not fit a `u32`.
    LimitTooLarge,
    /// A `/` was expected after the limit.
    ExpectedSlash,
    /// A unit was expected after the `/`.
    ExpectedUnit,
    /// There is no such unit.
    UnknownUnit,
    /// The count of the period is zero.
    ZeroCount,
    /// The period is shorter than [`MIN_PERIOD`](super::MIN_PERIOD).
    PeriodTooShort,
    /// The period is longer than [`MAX_PERIOD`](super::MAX_PERIOD).
    PeriodTooLong,
    /// The period is not a whole number of milliseconds.
    PeriodNotWhole,
    /// The rate is above [`MAX_PER_SECOND`](super::MAX_PER_SECOND).
    TooFast,
    /// There is something after the rate.
    Trailing,
    /// There is a comma where one rate was expected.
    SeveralRates,
    /// There are more rates than [`MAX_LIMITS`](crate::MAX_LIMITS).
    TooManyRates,
}

impl RateFaultKind {
    /// What was expected, as a clause without a full stop; usable in `const` panics.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Empty => "a rate is a limit, `/` and a unit, such as \"10/m\"",
            Self::ExpectedLimit => "expected a limit, a whole number above zero",
            Self::Fraction => {
                "a number must be whole; write a fraction over a longer period, \
                 such as \"3/2s\" for one and a half a second"
            }
            Self::Signed => "a number is above zero and has no sign",
            Self::Separator => "`_` may only stand between two digits",
            Self::ZeroLimit => {
                "the limit must be at least 1; to refuse every call, do not offer the function"
            }
            Self::LimitTooLarge => "a limit is at most 4_294_967_295",
            Self::ExpectedSlash => "expected `/` after the limit",
            Self::ExpectedUnit => "expected a unit after `/`: ms, s, m, h, d or w",
            Self::UnknownUnit => {
                "unknown unit; the units are ms, s (sec, second, seconds), m (min, minute, \
                 minutes), h (hr, hour, hours), d (day, days) and w (week, weeks)"
            }
            Self::ZeroCount => "the period must be longer than zero",
            Self::PeriodTooShort => "the period must be at least 1ms",
            Self::PeriodTooLong => "the period must be at most 366d",
            Self::PeriodNotWhole => "the period must be a whole number of milliseconds",
            Self::TooFast => "a rate is at most 1_000_000_000 per second",
            Self::Trailing => "expected the end of the rate, or `,` and another rate",
            Self::SeveralRates => "expected one rate, not several",
            Self::TooManyRates => "at most four rates",
        }
    }
}

impl fmt::Display for RateFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected())
    }
}

impl core::error::Error for RateFaultKind {}

/// What is wrong with the text of a rate, and the bytes that are wrong; produced in `const`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateFault {
    kind: RateFaultKind,
    start: usize,
    end: usize,
}

impl RateFault {
    pub(super) const fn new(kind: RateFaultKind, start: usize, end: usize) -> Self {
        Self { kind, start, end }
    }

    /// What is wrong.
    pub const fn kind(self) -> RateFaultKind {
        self.kind
    }

    /// The byte offset at which the wrong part starts.
    pub const fn start(self) -> usize {
        self.start
    }

    /// The byte offset just after the wrong part; equal to [`start`](Self::start) where something
    /// is missing.
    pub const fn end(self) -> usize {
        self.end
    }
}

impl fmt::Display for RateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.start, self.kind)
    }
}

impl core::error::Error for RateFault {}

/// A text that is not a rate: what was found, where, and what was expected.
///
/// ```
/// use ratelimit_core::Rate;
///
/// let error = "10/fortnight".parse::<Rate>().unwrap_err();
/// assert!(error.to_string().starts_with("invalid rate \"10/fortnight\": at `fortnight`: unknown unit"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateError {
    text: String,
    fault: RateFault,
}

impl RateError {
    /// Puts a fault and the text in which it was found together.
    pub fn new(text: &str, fault: RateFault) -> Self {
        Self {
            text: text.to_owned(),
            fault,
        }
    }

    /// The text that is not a rate.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it, and where.
    pub fn fault(&self) -> RateFault {
        self.fault
    }
}

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RateFault { kind, start, end } = self.fault;
        write!(f, "invalid rate {:?}: ", self.text)?;
        match self.text.get(start..end).filter(|found| !found.is_empty()) {
            Some(found) => write!(f, "at `{}`: {kind}", found.escape_debug()),
            None if start >= self.text.len() && kind != RateFaultKind::Empty => {
                write!(f, "at the end: {kind}")
            }
            None => write!(f, "{kind}"),
        }
    }
}

impl core::error::Error for RateError {}
