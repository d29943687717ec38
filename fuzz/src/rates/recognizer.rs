//! The grammar of rates once more, from its description and in the most obvious way: by splitting
//! the text, with wide numbers. It shares nothing with the product.
//!
//! `LIMIT "/" [COUNT] UNIT`, whole positive numbers, `_` between digits, blanks around the tokens, one
//! to four rates separated by commas. The limit fits a `u32`, the period is 1 ms to 366 days, and a
//! rate is at most 10⁹ per second.

/// A rate: its limit, and its period in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) limit: u32,
    pub(super) millis: u64,
}

const MOST: usize = 4;
const DAY: u128 = 24 * 60 * 60 * 1_000;
const BLANKS: [char; 2] = [' ', '\t'];

/// The rates of a text in the order in which they are written, or nothing where it is no list of
/// rates.
pub(super) fn rates(text: &str) -> Option<Vec<Read>> {
    let rates: Vec<_> = text.split(',').map(rate).collect::<Option<_>>()?;
    (rates.len() <= MOST).then_some(rates)
}

/// One rate.
pub(super) fn rate(text: &str) -> Option<Read> {
    let (limit, period) = text.split_once('/')?;
    let limit = number(limit.trim_matches(BLANKS))?;
    let period = period.trim_matches(BLANKS);
    let digits = period.len() - period.trim_start_matches(is_of_number).len();
    let (count, unit) = period.split_at(digits);
    let count = if count.is_empty() { 1 } else { number(count)? };
    let millis = count.checked_mul(millis(unit.trim_matches(BLANKS))?)?;
    let fits = (1..=u128::from(u32::MAX)).contains(&limit)
        && (1..=366 * DAY).contains(&millis)
        // limit per millis ≤ 10⁹ per 10³
        && limit <= millis * 1_000_000;
    fits.then_some(Read {
        limit: u32::try_from(limit).ok()?,
        millis: u64::try_from(millis).ok()?,
    })
}

fn is_of_number(character: char) -> bool {
    character.is_ascii_digit() || character == '_'
}

/// A number: groups of digits with one `_` between them. Nothing where it is far above every bound.
fn number(text: &str) -> Option<u128> {
    let groups: Vec<_> = text.split('_').collect();
    let digits =
        |group: &&str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    if !groups.iter().all(digits) {
        return None;
    }
    let digits = groups.concat();
    let significant = digits.trim_start_matches('0');
    match significant.len() {
        0 => Some(0),
        1..=30 => significant.parse().ok(),
        _ => None,
    }
}

fn millis(unit: &str) -> Option<u128> {
    Some(match unit {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60 * 1_000,
        "h" | "hr" | "hour" | "hours" => 60 * 60 * 1_000,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        _ => return None,
    })
}
