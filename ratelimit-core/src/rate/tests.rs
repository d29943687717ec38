//! The grammar: what is read, what is refused and where, and that nothing panics.

use core::time::Duration;

use proptest::prelude::*;

use super::RateFaultKind::{self, *};
use super::{MAX_PERIOD, Rate, parse_list};
use crate::cases::cases;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

#[test]
fn every_accepted_form_is_read_exactly() {
    let forms = [
        // Every unit under all of its names.
        ("10/ms", 10, 1),
        ("10/s", 10, SECOND),
        ("10/sec", 10, SECOND),
        ("10/second", 10, SECOND),
        ("10/seconds", 10, SECOND),
        ("10/m", 10, MINUTE),
        ("10/min", 10, MINUTE),
        ("10/minute", 10, MINUTE),
        ("10/minutes", 10, MINUTE),
        ("10/h", 10, HOUR),
        ("10/hr", 10, HOUR),
        ("10/hour", 10, HOUR),
        ("10/hours", 10, HOUR),
        ("10/d", 10, DAY),
        ("10/day", 10, DAY),
        ("10/days", 10, DAY),
        ("10/w", 10, WEEK),
        ("10/week", 10, WEEK),
        ("10/weeks", 10, WEEK),
        // Counts.
        ("100/30s", 100, 30 * SECOND),
        ("7/4w", 7, 4 * WEEK),
        ("1/90minutes", 1, 90 * MINUTE),
        ("5/1s", 5, SECOND),
        // Separators and leading zeros.
        ("1_000/s", 1_000, SECOND),
        ("1_0_0/1_0s", 100, 10 * SECOND),
        ("007/s", 7, SECOND),
        ("7/002s", 7, 2 * SECOND),
        (
            "00000000000000000000000000000000000000000000010/m",
            10,
            MINUTE,
        ),
        // Blanks around every part.
        ("  10/m  ", 10, MINUTE),
        ("10 / 30 s", 10, 30 * SECOND),
        ("\t10\t/\t30\ts\t", 10, 30 * SECOND),
        // The bounds.
        ("1/366d", 1, 366 * DAY),
        ("1/8784h", 1, 366 * DAY),
        ("4294967295/5s", u32::MAX, 5 * SECOND),
        ("1_000_000_000/s", 1_000_000_000, SECOND),
        ("1_000_000/ms", 1_000_000, 1),
        ("1/ms", 1, 1),
    ];
    for (text, limit, millis) in forms {
        let rate = Rate::parse(text).unwrap_or_else(|fault| panic!("{text:?}: {fault}"));
        assert_eq!(rate.limit(), limit, "{text:?}");
        assert_eq!(rate.period(), Duration::from_millis(millis), "{text:?}");
        let (list, count) = parse_list(text.as_bytes()).unwrap();
        assert_eq!((list[0], count), (rate, 1), "{text:?}");
    }
}

/// What is wrong, and where: the marked bytes, from the first `«` to the `»`.
fn marked(marked: &str) -> (String, usize, usize) {
    let start = marked.find('«').unwrap();
    let text = marked.replace(['«', '»'], "");
    let end = marked.find('»').unwrap() - '«'.len_utf8();
    (text, start, end)
}

#[test]
fn every_refused_form_is_refused_where_it_is_wrong() {
    let forms: [(&str, RateFaultKind); 74] = [
        ("«»", Empty),
        ("   «»", Empty),
        ("\t«»", Empty),
        // The limit.
        ("«/»s", ExpectedLimit),
        (" «/»s", ExpectedLimit),
        ("«m»", ExpectedLimit),
        ("«ten»/m", ExpectedLimit),
        ("«,»", ExpectedLimit),
        ("«é»/s", ExpectedLimit),
        ("«٣»/s", ExpectedLimit),
        ("«\u{a0}»10/s", ExpectedLimit),
        ("«\n»10/s", ExpectedLimit),
        ("«0»/m", ZeroLimit),
        ("«000»/m", ZeroLimit),
        ("«0_0»/m", ZeroLimit),
        ("«-»1/s", Signed),
        ("«+»1/s", Signed),
        ("«1.5»/s", Fraction),
        ("«1.»/s", Fraction),
        ("«0.5»/s", Fraction),
        ("«.5»/s", Fraction),
        ("«1.5».5/s", Fraction),
        ("«_»1/s", Separator),
        ("1«_»/s", Separator),
        ("1«_»_0/s", Separator),
        ("«4294967296»/s", LimitTooLarge),
        ("«4_294_967_296»/h", LimitTooLarge),
        ("«18446744073709551616»/s", LimitTooLarge),
        // 2⁶⁵ + 10 is no ten.
        ("«36893488147419103242»/s", LimitTooLarge),
        (
            "«99999999999999999999999999999999999999999»/s",
            LimitTooLarge,
        ),
        // The slash.
        ("10«»", ExpectedSlash),
        ("10  «»", ExpectedSlash),
        ("10«m»", ExpectedSlash),
        ("10 «per» minute", ExpectedSlash),
        ("10 «0»/s", ExpectedSlash),
        ("1«e»3/s", ExpectedSlash),
        ("1«,»000/s", ExpectedSlash),
        ("10«\\m»", ExpectedSlash),
        ("10«é»/s", ExpectedSlash),
        ("10«\n»/s", ExpectedSlash),
        // The period.
        ("10/«»", ExpectedUnit),
        ("10/ «»", ExpectedUnit),
        ("10/5«»", ExpectedUnit),
        ("10/5 «»", ExpectedUnit),
        ("10/«/»s", ExpectedUnit),
        ("10/«,»5/s", ExpectedUnit),
        ("10/5 «7»s", ExpectedUnit),
        ("10/«fortnight»", UnknownUnit),
        ("10 / «fortnight»", UnknownUnit),
        ("10/30«x»", UnknownUnit),
        ("10/«S»", UnknownUnit),
        ("10/«M»", UnknownUnit),
        ("10/«mss»", UnknownUnit),
        ("10/«us»", UnknownUnit),
        ("10/«month»", UnknownUnit),
        ("10/«m\n»", UnknownUnit),
        ("10/«µs»", UnknownUnit),
        ("10/«日»", UnknownUnit),
        ("10/«0»s", ZeroCount),
        ("10/«-»5s", Signed),
        ("10/«1.5»s", Fraction),
        ("10/«_»5s", Separator),
        ("10/5«_»s", Separator),
        ("1/«367d»", PeriodTooLong),
        ("1/«53w»", PeriodTooLong),
        ("1/«99999999999999999999999999999w»", PeriodTooLong),
        ("«1_000_000_001/s»", TooFast),
        ("«1_000_001/ms»", TooFast),
        (" «4294967295/4s»", TooFast),
        // What follows.
        ("10/m«/s»", Trailing),
        ("10/m «5»", Trailing),
        ("10/s «burst 20»", Trailing),
        ("10/m«, 5/s»", SeveralRates),
        ("10/m«,»", SeveralRates),
    ];
    for (form, kind) in forms {
        let (text, start, end) = marked(form);
        let fault = Rate::parse(&text).expect_err(&text);
        let found = (fault.kind(), fault.start(), fault.end());
        assert_eq!(found, (kind, start, end), "{text:?}");
        if kind != SeveralRates {
            assert_eq!(parse_list(text.as_bytes()).unwrap_err(), fault, "{text:?}");
        }
    }
}

#[test]
fn a_message_names_what_was_found_and_what_to_write_instead() {
    let messages = [
        (
            "",
            r#"invalid rate "": a rate is a limit, `/` and a unit, such as "10/m""#,
        ),
        (
            "10",
            r#"invalid rate "10": at the end: expected `/` after the limit"#,
        ),
        (
            "ten/m",
            r#"invalid rate "ten/m": at `ten`: expected a limit, a whole number above zero"#,
        ),
        (
            "10 per minute",
            r#"invalid rate "10 per minute": at `per`: expected `/` after the limit"#,
        ),
        (
            "10/",
            r#"invalid rate "10/": at the end: expected a unit after `/`: ms, s, m, h, d or w"#,
        ),
        (
            "10/m\n",
            r#"invalid rate "10/m\n": at `m\n`: unknown unit; the units are ms, s (sec, second, seconds), m (min, minute, minutes), h (hr, hour, hours), d (day, days) and w (week, weeks)"#,
        ),
        (
            "1.5/s",
            r#"invalid rate "1.5/s": at `1.5`: a number must be whole; write a fraction over a longer period, such as "3/2s" for one and a half a second"#,
        ),
        (
            "1/400d",
            r#"invalid rate "1/400d": at `400d`: the period must be at most 366d"#,
        ),
        (
            "2000000/ms",
            r#"invalid rate "2000000/ms": at `2000000/ms`: a rate is at most 1_000_000_000 per second"#,
        ),
        (
            "10/s burst 20",
            r#"invalid rate "10/s burst 20": at `burst 20`: expected the end of the rate, or `,` and another rate"#,
        ),
    ];
    for (text, message) in messages {
        assert_eq!(text.parse::<Rate>().unwrap_err().to_string(), message);
    }
}

#[test]
fn rates_from_numbers_keep_the_same_bounds() {
    let new = |limit, period| Rate::new(limit, period).map(|rate| rate.to_string());
    let millis = Duration::from_millis;
    assert_eq!(new(10, millis(MINUTE)), Ok("10/m".into()));
    assert_eq!(new(0, millis(MINUTE)), Err(ZeroLimit));
    assert_eq!(new(1, Duration::ZERO), Err(PeriodTooShort));
    assert_eq!(new(1, Duration::from_nanos(999_999)), Err(PeriodTooShort));
    assert_eq!(new(1, Duration::from_nanos(1_000_001)), Err(PeriodNotWhole));
    assert_eq!(new(1, MAX_PERIOD), Ok("1/366d".into()));
    assert_eq!(
        new(1, MAX_PERIOD + Duration::from_nanos(1)),
        Err(PeriodTooLong)
    );
    assert_eq!(new(1, Duration::MAX), Err(PeriodTooLong));
    assert_eq!(new(1_000_000, millis(1)), Ok("1000000/ms".into()));
    assert_eq!(new(1_000_001, millis(1)), Err(TooFast));
    assert_eq!(new(u32::MAX, millis(4_294)), Err(TooFast));
    assert_eq!(new(u32::MAX, millis(4_295)), Ok("4294967295/4295ms".into()));
}

#[test]
fn a_rate_is_written_in_its_largest_whole_unit() {
    for (written, shown) in [
        ("60/60s", "60/m"),
        ("1/90s", "1/90s"),
        ("1/1000ms", "1/s"),
        ("1/1500ms", "1/1500ms"),
        ("1/24h", "1/d"),
        ("1/36h", "1/36h"),
        ("1/14d", "1/2w"),
        ("1/366d", "1/366d"),
        ("1_000/s", "1000/s"),
    ] {
        let rate: Rate = written.parse().unwrap();
        assert_eq!(rate.to_string(), shown);
        assert_eq!(format!("{rate:?}"), format!("Rate({shown})"));
    }
}

/// Read while compiling.
const LOGIN: Rate = match Rate::parse("10/m") {
    Ok(rate) => rate,
    Err(fault) => panic!("{}", fault.kind().expected()),
};

#[test]
fn the_grammar_runs_in_const() {
    const WRONG: usize = match Rate::parse("10/é") {
        Ok(_) => 0,
        Err(fault) => fault.end(),
    };
    assert_eq!(
        (LOGIN.limit(), LOGIN.period()),
        (10, Duration::from_mins(1))
    );
    assert_eq!(WRONG, 5);
}

/// Texts that look much like rates.
fn almost_a_rate() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        "[0-9_]{1,25}",
        "[ \\t/,.+-]",
        prop::sample::select(vec![
            "ms", "s", "seconds", "m", "h", "d", "w", "é", "日", "\u{a0}", "\n"
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
}

fn is_well_placed(text: &str) -> Result<(), TestCaseError> {
    let Err(error) = text.parse::<Rate>() else {
        return Ok(());
    };
    let (start, end) = (error.fault().start(), error.fault().end());
    prop_assert!(start <= end && end <= text.len());
    prop_assert!(text.get(start..end).is_some(), "within a character");
    prop_assert!(error.to_string().contains(error.fault().kind().expected()));
    Ok(())
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        is_well_placed(&text)?;
    }

    #[test]
    fn no_text_that_is_almost_a_rate_makes_it_panic(text in almost_a_rate()) {
        is_well_placed(&text)?;
        if let Ok(rate) = text.parse::<Rate>() {
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }
    }

    #[test]
    fn what_is_shown_is_read_as_the_same_rate(limit in 1..=u32::MAX, millis in 1..=366 * DAY) {
        let Ok(rate) = Rate::new(limit, Duration::from_millis(millis)) else {
            return Ok(()); // Too fast.
        };
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
    }

    #[test]
    fn blanks_and_separators_change_nothing(
        limit in 1000..1_000_000_u32,
        count in 1..50_u64,
        blanks in prop::collection::vec("[ \\t]{0,3}", 5),
    ) {
        let [a, b, c, d, e] = &blanks[..] else { unreachable!() };
        let (high, low) = (limit / 1000, limit % 1000);
        let text = format!("{a}{high}_{low:03}{b}/{c}{count}{d}h{e}");
        let rate = Rate::new(limit, Duration::from_millis(count * HOUR)).unwrap();
        prop_assert_eq!(text.parse(), Ok(rate), "{}", text);
    }
}
