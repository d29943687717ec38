//! The grammar: what it accepts, what it refuses, and what it says then.

use core::time::Duration;

use proptest::prelude::*;

use super::{MAX_PERIOD, Rate, RateFaultKind as Kind};
use crate::limits::Limits;

#[test]
fn every_accepted_form() {
    let day = 86_400_000;
    for (text, limit, millis) in [
        ("10/m", 10, 60_000),
        ("1/s", 1, 1_000),
        ("100/30s", 100, 30_000),
        ("1_000/h", 1_000, 3_600_000),
        ("1_0_0/1_0s", 100, 10_000),
        ("010/m", 10, 60_000),
        (" 10 / 2 min ", 10, 120_000),
        ("\t10\t/\t2\tmin\t", 10, 120_000),
        ("10/2min", 10, 120_000),
        ("5/ms", 5, 1),
        ("5/250ms", 5, 250),
        ("1/sec", 1, 1_000),
        ("1/second", 1, 1_000),
        ("1/2seconds", 1, 2_000),
        ("1/min", 1, 60_000),
        ("1/minute", 1, 60_000),
        ("1/2minutes", 1, 120_000),
        ("1/hr", 1, 3_600_000),
        ("1/hour", 1, 3_600_000),
        ("1/24hours", 1, day),
        ("1/d", 1, day),
        ("1/day", 1, day),
        ("1/366days", 1, 366 * day),
        ("1/w", 1, 7 * day),
        ("1/week", 1, 7 * day),
        ("7/4weeks", 7, 28 * day),
        ("4294967295/5s", u32::MAX, 5_000),
        ("1000000000/s", 1_000_000_000, 1_000),
        ("1000000/ms", 1_000_000, 1),
    ] {
        let rate = Rate::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        let found = (rate.limit(), rate.period());
        assert_eq!(found, (limit, Duration::from_millis(millis)), "{text}");
    }
}

#[test]
fn every_refused_form_and_where_it_is_wrong() {
    for (text, kind, wrong) in [
        ("", Kind::Empty, ""),
        ("   ", Kind::Empty, ""),
        ("/m", Kind::ExpectedLimit, "/"),
        ("m", Kind::ExpectedLimit, "m"),
        ("é/m", Kind::ExpectedLimit, "é"),
        ("ten/m", Kind::ExpectedLimit, "t"),
        ("-1/s", Kind::Signed, "-"),
        ("+1/s", Kind::Signed, "+"),
        ("1.5/s", Kind::Fraction, "1.5"),
        ("10/1.5s", Kind::Fraction, "1.5"),
        ("1e3/s", Kind::ExpectedSlash, "e"),
        ("0/m", Kind::ZeroLimit, "0"),
        ("000/m", Kind::ZeroLimit, "000"),
        ("4294967296/m", Kind::LimitTooLarge, "4294967296"),
        (
            "99999999999999999999999999/m",
            Kind::LimitTooLarge,
            "99999999999999999999999999",
        ),
        ("_1/m", Kind::Separator, "_"),
        ("1_/m", Kind::Separator, "_"),
        ("1__0/m", Kind::Separator, "_"),
        ("10", Kind::ExpectedSlash, ""),
        ("10 20/m", Kind::ExpectedSlash, "2"),
        ("10 per minute", Kind::ExpectedSlash, "p"),
        ("10//m", Kind::ExpectedUnit, "/"),
        ("10/", Kind::ExpectedUnit, ""),
        ("10/5", Kind::ExpectedUnit, ""),
        ("10/-5s", Kind::Signed, "-"),
        ("10/fortnight", Kind::UnknownUnit, "fortnight"),
        ("10/M", Kind::UnknownUnit, "M"),
        ("10/mo", Kind::UnknownUnit, "mo"),
        ("10/µs", Kind::UnknownUnit, "µs"),
        ("10/s\n", Kind::UnknownUnit, "s\n"),
        ("10/0s", Kind::ZeroCount, "0"),
        ("10/367d", Kind::PeriodTooLong, "367d"),
        (
            "10/99999999999999999999w",
            Kind::PeriodTooLong,
            "99999999999999999999w",
        ),
        ("1000001/ms", Kind::TooFast, "1000001/ms"),
        ("1000000001/s", Kind::TooFast, "1000000001/s"),
        ("10/m/s", Kind::Trailing, "/s"),
        ("10/m x", Kind::Trailing, "x"),
        ("10/m5", Kind::Trailing, "5"),
        ("10/m, 5/s", Kind::SeveralRates, ", 5/s"),
    ] {
        let fault = Rate::parse(text).expect_err(text);
        assert_eq!(fault.kind(), kind, "{text}");
        assert_eq!(&text[fault.start()..fault.end()], wrong, "{text}");
        let error = text.parse::<Rate>().unwrap_err();
        assert_eq!((error.text(), error.fault()), (text, fault));
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("invalid rate {text:?}: ")),
            "{message}"
        );
        assert!(message.ends_with(kind.expected()), "{message}");
    }
}

#[test]
fn rates_that_are_made_keep_the_same_bounds() {
    let rate = |limit, nanos| Rate::new(limit, Duration::from_nanos(nanos));
    assert!(rate(1, 1_000_000).is_ok());
    assert_eq!(rate(0, 1_000_000), Err(Kind::ZeroLimit));
    assert_eq!(rate(1, 999_999), Err(Kind::PeriodTooShort));
    assert_eq!(rate(1, 1_500_000), Err(Kind::PeriodNotWhole));
    assert_eq!(rate(1_000_001, 1_000_000), Err(Kind::TooFast));
    assert_eq!(Rate::new(1, Duration::MAX), Err(Kind::PeriodTooLong));
    assert!(Rate::new(1, MAX_PERIOD).is_ok());
}

#[test]
fn a_rate_is_shown_as_short_as_it_can_be_written() {
    for (text, shown) in [
        ("10/60s", "10/m"),
        ("10/3600s", "10/h"),
        ("10/90s", "10/90s"),
        ("10/1000ms", "10/s"),
        ("10/14d", "10/2w"),
        ("10/24h", "10/d"),
    ] {
        assert_eq!(text.parse::<Rate>().unwrap().to_string(), shown);
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_read_as_the_same(limit in 1_u32.., millis in 1_u64..=366 * 86_400_000) {
        if let Ok(rate) = Rate::new(limit, Duration::from_millis(millis)) {
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        }
    }

    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,40}|[0-9/_,. smhdwé-]{0,24}") {
        if let Err(fault) = Rate::parse(&text) {
            prop_assert!(text.get(fault.start()..fault.end()).is_some(), "{fault:?}");
            prop_assert!(!text.parse::<Rate>().unwrap_err().to_string().is_empty());
        }
        let _ = text.parse::<Limits>().map_err(|error| error.to_string());
    }
}
