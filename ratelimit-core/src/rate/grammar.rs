//! The grammar of rates, read byte by byte so that it runs in `const`. That of [waits](super::wait)
//! shares its numbers and units.

use core::time::Duration;

use super::{Rate, RateFault, RateFaultKind as Kind};
use crate::limits::MAX_LIMITS;

/// Reads exactly one rate.
pub(super) const fn parse_one(text: &[u8]) -> Result<Rate, RateFault> {
    let (rate, next) = match rate(text, 0) {
        Ok(read) => read,
        Err(fault) => return Err(fault),
    };
    if next == text.len() {
        Ok(rate)
    } else {
        Err(RateFault::new(Kind::SeveralRates, next, text.len()))
    }
}

/// Reads one to four rates separated by commas. The places past the count repeat the first rate.
pub(crate) const fn parse_list(text: &[u8]) -> Result<([Rate; MAX_LIMITS], usize), RateFault> {
    let (first, mut next) = match rate(text, 0) {
        Ok(read) => read,
        Err(fault) => return Err(fault),
    };
    let mut rates = [first; MAX_LIMITS];
    let mut count = 1;
    while next < text.len() {
        if count == MAX_LIMITS {
            return Err(RateFault::new(Kind::TooManyRates, next, text.len()));
        }
        (rates[count], next) = match rate(text, next + 1) {
            Ok(read) => read,
            Err(fault) => return Err(fault),
        };
        count += 1;
    }
    Ok((rates, count))
}

/// Reads a rate from `start`; answers where it stopped: at the end, or at a comma.
const fn rate(text: &[u8], start: usize) -> Result<(Rate, usize), RateFault> {
    let from = skip_blanks(text, start);
    if from == text.len() {
        let kind = if start == 0 {
            Kind::Empty
        } else {
            Kind::ExpectedLimit
        };
        return Err(RateFault::new(kind, from, from));
    }
    let (limit, after_limit) = match number(text, from) {
        Ok(Some(read)) => read,
        Ok(None) => {
            return Err(RateFault::new(
                Kind::ExpectedLimit,
                from,
                found_end(text, from),
            ));
        }
        Err(fault) => return Err(fault),
    };
    if limit == 0 {
        return Err(RateFault::new(Kind::ZeroLimit, from, after_limit));
    }
    if limit > u32::MAX as u64 {
        return Err(RateFault::new(Kind::LimitTooLarge, from, after_limit));
    }
    let slash = skip_blanks(text, after_limit);
    if slash == text.len() || text[slash] != b'/' {
        return Err(RateFault::new(
            Kind::ExpectedSlash,
            slash,
            found_end(text, slash),
        ));
    }
    let period_from = skip_blanks(text, slash + 1);
    let (count, after_count) = match number(text, period_from) {
        Ok(Some(read)) => read,
        Ok(None) => (1, period_from),
        Err(fault) => return Err(fault),
    };
    if count == 0 {
        return Err(RateFault::new(Kind::ZeroCount, period_from, after_count));
    }
    let unit_from = skip_blanks(text, after_count);
    let unit_end = word_end(text, unit_from);
    if unit_from == unit_end {
        return Err(RateFault::new(
            Kind::ExpectedUnit,
            unit_from,
            found_end(text, unit_from),
        ));
    }
    let Some(unit) = unit_millis(text, unit_from, unit_end) else {
        return Err(RateFault::new(Kind::UnknownUnit, unit_from, unit_end));
    };
    let next = skip_blanks(text, unit_end);
    if next < text.len() && text[next] != b',' {
        return Err(RateFault::new(Kind::Trailing, next, text.len()));
    }
    #[allow(clippy::cast_possible_truncation)] // checked just before
    let limit = limit as u32;
    match Rate::new(limit, Duration::from_millis(count.saturating_mul(unit))) {
        Ok(rate) => Ok((rate, next)),
        Err(kind @ Kind::TooFast) => Err(RateFault::new(kind, from, unit_end)),
        Err(kind) => Err(RateFault::new(kind, period_from, unit_end)),
    }
}

/// Reads a number, if there is one. Too many digits saturate: every bound is far below.
pub(super) const fn number(text: &[u8], start: usize) -> Result<Option<(u64, usize)>, RateFault> {
    let mut value: u64 = 0;
    let mut at = start;
    while at < text.len() {
        let byte = text[at];
        if byte.is_ascii_digit() {
            value = value
                .saturating_mul(10)
                .saturating_add((byte - b'0') as u64);
        } else if byte == b'_' {
            let between = at > start
                && text[at - 1].is_ascii_digit()
                && at + 1 < text.len()
                && text[at + 1].is_ascii_digit();
            if !between {
                return Err(RateFault::new(Kind::Separator, at, at + 1));
            }
        } else {
            break;
        }
        at += 1;
    }
    if at < text.len() {
        let signed = text[at] == b'-' || text[at] == b'+';
        if at == start && signed {
            return Err(RateFault::new(Kind::Signed, at, at + 1));
        }
        let digit_follows = at + 1 < text.len() && text[at + 1].is_ascii_digit();
        if text[at] == b'.' && (at > start || digit_follows) {
            let mut end = at + 1;
            while end < text.len() && text[end].is_ascii_digit() {
                end += 1;
            }
            return Err(RateFault::new(Kind::Fraction, start, end));
        }
    }
    if at == start {
        Ok(None)
    } else {
        Ok(Some((value, at)))
    }
}

pub(super) const fn unit_millis(text: &[u8], start: usize, end: usize) -> Option<u64> {
    const UNITS: [(&[u8], u64); 19] = [
        (b"ms", 1),
        (b"s", 1_000),
        (b"sec", 1_000),
        (b"second", 1_000),
        (b"seconds", 1_000),
        (b"m", 60_000),
        (b"min", 60_000),
        (b"minute", 60_000),
        (b"minutes", 60_000),
        (b"h", 3_600_000),
        (b"hr", 3_600_000),
        (b"hour", 3_600_000),
        (b"hours", 3_600_000),
        (b"d", 86_400_000),
        (b"day", 86_400_000),
        (b"days", 86_400_000),
        (b"w", 604_800_000),
        (b"week", 604_800_000),
        (b"weeks", 604_800_000),
    ];
    let mut index = 0;
    while index < UNITS.len() {
        let (name, millis) = UNITS[index];
        if same(text, start, end, name) {
            return Some(millis);
        }
        index += 1;
    }
    None
}

const fn same(text: &[u8], start: usize, end: usize, word: &[u8]) -> bool {
    if end - start != word.len() {
        return false;
    }
    let mut index = 0;
    while index < word.len() {
        if text[start + index] != word[index] {
            return false;
        }
        index += 1;
    }
    true
}

pub(super) const fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && (text[at] == b' ' || text[at] == b'\t') {
        at += 1;
    }
    at
}

/// The end of a word: of everything up to a blank, a digit or a mark of the grammar.
pub(super) const fn word_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && !matches!(text[at], b' ' | b'\t' | b',' | b'/' | b'0'..=b'9') {
        at += 1;
    }
    at
}

/// The end of what stands at `at` instead of what was expected: a word or a mark; `at` itself at
/// the end of the text.
pub(super) const fn found_end(text: &[u8], at: usize) -> usize {
    let end = word_end(text, at);
    if end > at || at == text.len() {
        end
    } else {
        at + 1 // A digit or a mark, which is one byte.
    }
}
