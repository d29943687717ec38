//! The rate grammar, over every text; and the bursts of what it reads.
//!
//! The input is a text. A byte 0xFF, which is in no UTF-8, ends it, and what follows are bursts, four
//! bytes each. Where the text starts with 0xFE, which is in no UTF-8 either, its other bytes stand for
//! the parts of rates, so that much of what the fuzzer makes is one or almost one.
//!
//! - Nothing panics, and `parse` and `FromStr` say the same.
//! - What is a rate, and which, agrees with a recognizer that was written apart (`recognizer`).
//! - A rate keeps its bounds, and displays as text, no longer than what was read, that reads as the
//!   same rate; rates are in the order of their periods.
//! - A fault lies inside the text and between characters, and only the end of the text is an empty
//!   place. The message is one line, and has the text and what was found at that place.
//! - A burst is accepted exactly where a bucket with it would fill within [`MAX_FILL`], and is then
//!   what the capacity is made of.

mod recognizer;

use core::time::Duration;

use ratelimit::core::rate::{MAX_PER_SECOND, MAX_PERIOD, MIN_PERIOD};
use ratelimit::core::{MAX_FILL, MAX_LIMITS, RateFault, RateFaultKind};
use ratelimit::{Algorithm, BurstFault, Limit, Limits, Rate, RateError};

use recognizer::Read;

/// The parts of rates, and some that are almost right; a power of two of them.
const PARTS: [&str; 64] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "/",
    "/",
    "/",
    "/",
    ",",
    ", ",
    " ",
    "\t",
    "_",
    "_",
    "ms",
    "s",
    "sec",
    "second",
    "seconds",
    "m",
    "min",
    "minute",
    "minutes",
    "h",
    "hr",
    "hour",
    "hours",
    "d",
    "day",
    "days",
    "w",
    "week",
    "weeks",
    "10/m",
    "100",
    "1_000",
    "4294967295",
    "4_294_967_296",
    "1000000",
    "366d",
    "367d",
    "31622400000ms",
    "52w",
    "53w",
    "-",
    "+",
    ".",
    "1.5",
    "e",
    "M",
    "mins",
    "fortnight",
    "\u{e9}",
    "\u{2003}",
    "\n",
    "\u{661}",
    "18446744073709551616",
    "per",
];

/// Checks all of it for one input.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0xff);
    let text = match parts.next().unwrap_or_default() {
        [0xfe, parts @ ..] => parts
            .iter()
            .map(|part| PARTS[usize::from(*part) % PARTS.len()])
            .collect(),
        text => String::from_utf8_lossy(text),
    };
    let (bursts, _) = parts.next().unwrap_or_default().as_chunks::<4>();
    let bursts: Vec<_> = bursts
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .collect();

    one_rate(&text);
    if let Some(rates) = several_rates(&text) {
        bursts_of(&rates, &bursts);
    }
    if let [limit, low, high, ..] = bursts[..] {
        let period = Duration::from_nanos(u64::from(high) << 32 | u64::from(low));
        if let Ok(rate) = Rate::new(limit, period) {
            assert_eq!((rate.limit(), rate.period()), (limit, period));
            keeps_bounds(rate);
        }
    }
}

fn one_rate(text: &str) {
    let parsed = Rate::parse(text);
    let from_str = text.parse::<Rate>();
    match (parsed, &from_str) {
        (Ok(rate), Ok(same)) => {
            assert_eq!(rate, *same);
            keeps_bounds(rate);
            let shown = rate.to_string();
            assert_eq!(shown.parse(), Ok(rate), "{text:?} displays as {shown:?}");
            assert!(shown.len() <= text.len(), "{text:?} displays as {shown:?}");
        }
        (Err(fault), Err(error)) => is_told(text, fault, error),
        _ => panic!("{text:?} is {parsed:?} and {from_str:?}"),
    }
    assert_eq!(parsed.ok().map(read), recognizer::rate(text), "{text:?}");
}

/// The rates in the order in which they are written, if they are some.
fn several_rates(text: &str) -> Option<Vec<Rate>> {
    let parsed = Limits::parse(text);
    let from_str = text.parse::<Limits>();
    let expected = recognizer::rates(text);
    match (parsed, &from_str) {
        (Ok(limits), Ok(same)) => {
            assert_eq!(limits, *same);
            let found: Vec<_> = limits.as_slice().iter().map(Limit::rate).collect();
            assert!((1..=MAX_LIMITS).contains(&found.len()), "{text:?}");
            assert!(found.is_sorted_by_key(|rate| rate.period()), "{text:?}");
            let shown = limits.to_string();
            assert_eq!(shown.parse(), Ok(limits), "{text:?} displays as {shown:?}");
            assert!(!limits.has_burst(), "{text:?}");

            let written = expected.unwrap_or_else(|| panic!("{text:?} is read as {limits}"));
            let mut sorted = written.clone();
            sorted.sort_by_key(|rate| (rate.millis, rate.limit));
            assert_eq!(found.into_iter().map(read).collect::<Vec<_>>(), sorted);
            Some(written.into_iter().map(rate_of).collect())
        }
        (Err(fault), Err(error)) => {
            is_told(text, fault, error);
            assert_eq!(expected, None, "{text:?} is refused: {error}");
            None
        }
        _ => panic!("{text:?} is {parsed:?} and {from_str:?}"),
    }
}

fn read(rate: Rate) -> Read {
    let millis = u64::try_from(rate.period().as_millis()).expect("a period is at most 366 days");
    Read {
        limit: rate.limit(),
        millis,
    }
}

fn rate_of(read: Read) -> Rate {
    Rate::new(read.limit, Duration::from_millis(read.millis))
        .expect("the recognizer knows the bounds")
}

fn keeps_bounds(rate: Rate) {
    let (limit, period) = (u128::from(rate.limit()), rate.period());
    assert!(
        limit >= 1 && period >= MIN_PERIOD && period <= MAX_PERIOD,
        "{rate}"
    );
    assert_eq!(period.as_nanos() % 1_000_000, 0, "{rate}");
    let most = u128::from(MAX_PER_SECOND) * period.as_nanos();
    assert!(limit * 1_000_000_000 <= most, "{rate}");
}

/// What a fault says of a text.
fn is_told(text: &str, fault: RateFault, error: &RateError) {
    assert_eq!((error.text(), error.fault()), (text, fault));
    let (start, end) = (fault.start(), fault.end());
    let found = text
        .get(start..end)
        .unwrap_or_else(|| panic!("{start}..{end} cuts {text:?}"));
    assert!(
        !found.is_empty() || start == text.len(),
        "{start} is not the end of {text:?}"
    );

    let message = error.to_string();
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(
        message.contains(&format!("{text:?}")),
        "{message:?} does not have the text {text:?}"
    );
    assert!(message.contains(fault.kind().expected()), "{message:?}");
    let place = if !found.is_empty() {
        format!("at `{}`", found.escape_debug())
    } else if fault.kind() == RateFaultKind::Empty {
        String::new()
    } else {
        "at the end".to_owned()
    };
    assert!(
        message.contains(&place),
        "{message:?} does not name {place}"
    );
}

/// The bursts, given in the order in which the rates are written, and to rates that are sorted.
fn bursts_of(rates: &[Rate], bursts: &[u32]) {
    let count = BurstFault::Count {
        bursts: bursts.len(),
        rates: rates.len(),
    };
    let from_rates = Limits::from_rates(rates, bursts);
    if bursts.is_empty() {
        let none = from_rates.expect("no bursts are no fault");
        assert_eq!(none.with_bursts(bursts), Err(count));
        return;
    }
    if bursts.len() != 1 && bursts.len() != rates.len() {
        assert_eq!(from_rates, Err(count));
        return;
    }
    let burst_of = |index: usize| {
        if bursts.len() == 1 {
            bursts[0]
        } else {
            bursts[index]
        }
    };
    let pairs = || {
        rates
            .iter()
            .enumerate()
            .map(|(index, rate)| (*rate, burst_of(index)))
    };
    assert_eq!(
        from_rates.err(),
        first_fault(pairs()),
        "{rates:?} with {bursts:?}"
    );
    if let Ok(limits) = from_rates {
        are_kept(limits, pairs().collect());
    }

    let sorted = Limits::from_rates(rates, &[]).expect("the rates are some");
    let sorted_rates = sorted.as_slice().iter().map(Limit::rate);
    let pairs: Vec<_> = sorted_rates
        .enumerate()
        .map(|(index, rate)| (rate, burst_of(index)))
        .collect();
    let with_bursts = sorted.with_bursts(bursts);
    assert_eq!(
        with_bursts.err(),
        first_fault(pairs.iter().copied()),
        "{sorted} with {bursts:?}"
    );
    if let Ok(limits) = with_bursts {
        are_kept(limits, pairs);
    }
}

fn first_fault(mut pairs: impl Iterator<Item = (Rate, u32)>) -> Option<BurstFault> {
    pairs.find_map(|(rate, burst)| {
        // One unit takes period / limit.
        let fill = u128::from(burst) * rate.period().as_nanos();
        match burst {
            0 => Some(BurstFault::Zero),
            _ if fill > MAX_FILL.as_nanos() * u128::from(rate.limit()) => {
                Some(BurstFault::TooLarge)
            }
            _ => None,
        }
    })
}

fn are_kept(limits: Limits, mut pairs: Vec<(Rate, u32)>) {
    let order = |pair: &(Rate, u32)| (pair.0.period(), pair.0.limit(), pair.1);
    let mut found: Vec<_> = limits
        .as_slice()
        .iter()
        .map(|limit| (limit.rate(), limit.burst().expect("it was given one")))
        .collect();
    assert!(found.is_sorted_by_key(|(rate, _)| rate.period()));
    found.sort_by_key(order);
    pairs.sort_by_key(order);
    assert_eq!(found, pairs);

    let burst = pairs.iter().map(|(_, burst)| *burst).min();
    let limit = pairs.iter().map(|(rate, _)| rate.limit()).min();
    for algorithm in Algorithm::ALL {
        let capacity = if algorithm.is_bucket() { burst } else { limit };
        assert_eq!(
            Some(limits.capacity(algorithm)),
            capacity,
            "{limits} as {algorithm}"
        );
    }
    for limit in limits.as_slice() {
        let fill = Duration::from_nanos(limit.terms().fill.ceil());
        assert!(fill <= MAX_FILL, "{limit} takes {fill:?} to fill");
    }
    assert!(!limits.to_string().is_empty());
}
