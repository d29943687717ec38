//! [`Wait`]: how long a call may wait for its place, and the grammar in which that is written: that
//! of a rate's period.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::grammar::{found_end, number, skip_blanks, unit_millis, word_end};
use super::{RateFault, RateFaultKind};

/// The shortest wait: one millisecond, the tick of the coarsest clocks.
pub const MIN_WAIT: Duration = Duration::from_millis(1);
/// The longest wait: one hour. A call that waits holds its thread or task, what it borrowed, and a
/// place in the queue all the while; what can wait longer than that belongs in a queue of jobs.
pub const MAX_WAIT: Duration = Duration::from_hours(1);

/// How long a call may wait for its place: `"500ms"`.
///
/// # Grammar
///
/// `COUNT UNIT`: a whole positive number in which `_` may separate digits, and one of the units of a
/// [`Rate`](crate::Rate#grammar). Blanks around the parts are allowed. It lies between [`MIN_WAIT`]
/// and [`MAX_WAIT`].
///
/// ```
/// use core::time::Duration;
/// use ratelimit_core::Wait;
///
/// let wait: Wait = "1_500 ms".parse()?;
/// assert_eq!(wait.duration(), Duration::from_millis(1_500));
///
/// // The same, while compiling.
/// const SHORT: Wait = match Wait::parse("500ms") {
///     Ok(wait) => wait,
///     Err(_) => panic!("not a wait"),
/// };
/// assert_eq!(SHORT.to_string(), "500ms");
///
/// let error = "500".parse::<Wait>().unwrap_err();
/// assert!(error.to_string().starts_with("invalid wait \"500\": at the end: expected a unit"));
/// # Ok::<(), ratelimit_core::WaitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wait(Duration);

impl Wait {
    /// A wait of that length; fails when it is shorter than [`MIN_WAIT`] or longer than
    /// [`MAX_WAIT`].
    pub const fn new(wait: Duration) -> Result<Self, WaitFaultKind> {
        if wait.as_nanos() < MIN_WAIT.as_nanos() {
            return Err(WaitFaultKind::TooShort);
        }
        if wait.as_nanos() > MAX_WAIT.as_nanos() {
            return Err(WaitFaultKind::TooLong);
        }
        Ok(Self(wait))
    }

    /// Reads a wait, as the [grammar](Wait#grammar) says; usable in `const`.
    ///
    /// [`FromStr`] does the same and keeps the text for its message.
    pub const fn parse(text: &str) -> Result<Self, WaitFault> {
        parse(text.as_bytes())
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Wait {
    type Err = WaitError;

    fn from_str(text: &str) -> Result<Self, WaitError> {
        Self::parse(text).map_err(|fault| WaitError {
            text: text.to_owned(),
            fault,
        })
    }
}

/// Of the texts that parse to this wait, the one with the longest unit.
impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis.is_multiple_of(length) {
                return write!(f, "{}{unit}", millis / length);
            }
        }
        write!(f, "{millis}ms")
    }
}

const fn parse(text: &[u8]) -> Result<Wait, WaitFault> {
    let from = skip_blanks(text, 0);
    if from == text.len() {
        return Err(WaitFault::new(WaitFaultKind::Empty, from, from));
    }
    let (count, after_count) = match number(text, from) {
        Ok(Some(read)) => read,
        Ok(None) => {
            let end = found_end(text, from);
            return Err(WaitFault::new(WaitFaultKind::ExpectedCount, from, end));
        }
        Err(fault) => return Err(WaitFault::of_number(fault)),
    };
    if count == 0 {
        return Err(WaitFault::new(WaitFaultKind::Zero, from, after_count));
    }
    let unit_from = skip_blanks(text, after_count);
    let unit_end = word_end(text, unit_from);
    if unit_from == unit_end {
        let end = found_end(text, unit_from);
        return Err(WaitFault::new(WaitFaultKind::ExpectedUnit, unit_from, end));
    }
    let Some(unit) = unit_millis(text, unit_from, unit_end) else {
        let kind = WaitFaultKind::UnknownUnit;
        return Err(WaitFault::new(kind, unit_from, unit_end));
    };
    let next = skip_blanks(text, unit_end);
    if next < text.len() {
        return Err(WaitFault::new(WaitFaultKind::Trailing, next, text.len()));
    }
    match Wait::new(Duration::from_millis(count.saturating_mul(unit))) {
        Ok(wait) => Ok(wait),
        Err(kind) => Err(WaitFault::new(kind, from, unit_end)),
    }
}

/// What is wrong with a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitFaultKind {
    /// There is no text.
    Empty,
    /// A number was expected.
    ExpectedCount,
    /// The number is not whole.
    Fraction,
    /// The number has a sign.
    Signed,
    /// A `_` does not stand between two digits.
    Separator,
    /// The number is zero.
    Zero,
    /// A unit was expected after the number.
    ExpectedUnit,
    /// There is no such unit.
    UnknownUnit,
    /// There is something after the wait.
    Trailing,
    /// It is shorter than [`MIN_WAIT`].
    TooShort,
    /// It is longer than [`MAX_WAIT`].
    TooLong,
}

impl WaitFaultKind {
    /// What was expected, as a clause without a full stop; usable in `const` panics.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Empty => "a wait is a number and a unit, such as \"500ms\"",
            Self::ExpectedCount => "expected a whole number above zero, then a unit",
            Self::Fraction => {
                "a number must be whole; write a fraction in a smaller unit, such as \"1500ms\" \
                 for one and a half seconds"
            }
            Self::Signed => RateFaultKind::Signed.expected(),
            Self::Separator => RateFaultKind::Separator.expected(),
            Self::Zero => {
                "a wait must be longer than zero; to reject a call at once, leave `wait` out"
            }
            Self::ExpectedUnit => "expected a unit after the number: ms, s, m or h",
            Self::UnknownUnit => {
                "unknown unit; the units are ms, s (sec, second, seconds), m (min, minute, \
                 minutes) and h (hr, hour)"
            }
            Self::Trailing => "expected the end: a wait is one number and one unit",
            Self::TooShort => "a wait is at least 1ms",
            Self::TooLong => {
                "a wait is at most 1h, as a call that waits holds its thread or task all the \
                 while; what can wait longer belongs in a queue of jobs"
            }
        }
    }
}

impl fmt::Display for WaitFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected())
    }
}

impl core::error::Error for WaitFaultKind {}

/// What is wrong with the text of a wait, and the bytes that are wrong; produced in `const`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitFault {
    kind: WaitFaultKind,
    start: usize,
    end: usize,
}

impl WaitFault {
    const fn new(kind: WaitFaultKind, start: usize, end: usize) -> Self {
        Self { kind, start, end }
    }

    /// What is wrong with a number, which rates have as well.
    const fn of_number(fault: RateFault) -> Self {
        let kind = match fault.kind() {
            RateFaultKind::Fraction => WaitFaultKind::Fraction,
            RateFaultKind::Signed => WaitFaultKind::Signed,
            RateFaultKind::Separator => WaitFaultKind::Separator,
            _ => WaitFaultKind::ExpectedCount,
        };
        Self::new(kind, fault.start(), fault.end())
    }

    /// What is wrong.
    pub const fn kind(self) -> WaitFaultKind {
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

/// A text that is not a wait: what was found, where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitError {
    text: String,
    fault: WaitFault,
}

impl WaitError {
    /// The text that is not a wait.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it, and where.
    pub fn fault(&self) -> WaitFault {
        self.fault
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WaitFault { kind, start, end } = self.fault;
        write!(f, "invalid wait {:?}: ", self.text)?;
        match self.text.get(start..end).filter(|found| !found.is_empty()) {
            Some(found) => write!(f, "at `{}`: {kind}", found.escape_debug()),
            None if kind == WaitFaultKind::Empty => write!(f, "{kind}"),
            None => write!(f, "at the end: {kind}"),
        }
    }
}

impl core::error::Error for WaitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_wait() {
        for (text, millis) in [
            ("1ms", 1),
            ("500ms", 500),
            (" 500 ms ", 500),
            ("1_500ms", 1_500),
            ("2s", 2_000),
            ("2seconds", 2_000),
            ("1 minute", 60_000),
            ("60m", 3_600_000),
            ("1h", 3_600_000),
            ("1hr", 3_600_000),
        ] {
            let wait: Wait = text.parse().unwrap();
            assert_eq!(wait.duration(), Duration::from_millis(millis), "{text}");
            assert_eq!(wait.to_string().parse(), Ok(wait), "{text}");
        }
    }

    #[test]
    fn anything_else_says_what_is_wrong_and_where() {
        use WaitFaultKind as Kind;
        for (text, kind, wrong) in [
            ("", Kind::Empty, 0..0),
            ("  ", Kind::Empty, 2..2),
            ("ms", Kind::ExpectedCount, 0..2),
            ("/s", Kind::ExpectedCount, 0..1),
            ("0ms", Kind::Zero, 0..1),
            ("00s", Kind::Zero, 0..2),
            ("500", Kind::ExpectedUnit, 3..3),
            ("500 1s", Kind::ExpectedUnit, 4..5),
            ("5x", Kind::UnknownUnit, 1..2),
            ("5 MS", Kind::UnknownUnit, 2..4),
            ("5µs", Kind::UnknownUnit, 1..4),
            ("-5s", Kind::Signed, 0..1),
            ("1.5s", Kind::Fraction, 0..3),
            ("1__0s", Kind::Separator, 1..2),
            ("1s 500ms", Kind::Trailing, 3..8),
            ("1s,", Kind::Trailing, 2..3),
            ("61m", Kind::TooLong, 0..3),
            ("1d", Kind::TooLong, 0..2),
            ("3600001ms", Kind::TooLong, 0..9),
            ("99999999999999999999999w", Kind::TooLong, 0..24),
        ] {
            let error = text.parse::<Wait>().unwrap_err();
            let fault = error.fault();
            let found = (fault.kind(), fault.start()..fault.end());
            assert_eq!(found, (kind, wrong), "{text}");
            assert_eq!(error.text(), text);
            assert!(error.to_string().contains(kind.expected()), "{error}");
        }
        assert_eq!(
            Wait::new(Duration::from_micros(999)),
            Err(WaitFaultKind::TooShort)
        );
    }

    #[test]
    fn messages_name_what_was_found() {
        let message = |text: &str| text.parse::<Wait>().unwrap_err().to_string();
        assert_eq!(
            message("0ms"),
            "invalid wait \"0ms\": at `0`: a wait must be longer than zero; to reject a call at \
             once, leave `wait` out"
        );
        assert_eq!(
            message(""),
            "invalid wait \"\": a wait is a number and a unit, such as \"500ms\""
        );
    }
}
