//! Lists of rates, in any order, with their bursts.

use core::time::Duration;

use proptest::prelude::*;

use super::{BurstFault, Limit, Limits, MAX_FILL, MAX_LIMITS};
use crate::algorithm::Algorithm;
use crate::cases::cases;
use crate::rate::{Rate, RateFaultKind, RateFaultKind::*};

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

#[test]
fn the_order_of_rates_has_no_meaning() {
    let shown = "1/ms, 5/s, 100/h, 1000/d";
    for text in [
        "1/ms, 5/s, 100/h, 1000/d",
        "1000/d,100/h,5/s,1/ms",
        "100/h , 1/ms\t,1000/24h, 5/1000ms",
    ] {
        let limits: Limits = text.parse().unwrap();
        assert_eq!(limits.to_string(), shown);
        assert_eq!(limits, shown.parse().unwrap());
        assert_eq!(format!("{limits:?}"), format!("Limits({shown})"));
    }
    // Of one period, the smaller limit first; the same rate twice is two rates.
    assert_eq!(
        "9/s, 3/s, 3/s".parse::<Limits>().unwrap().to_string(),
        "3/s, 3/s, 9/s"
    );
    assert_ne!("3/s".parse::<Limits>(), "3/s, 3/s".parse::<Limits>());
}

#[test]
fn a_list_is_refused_where_it_is_wrong() {
    let forms: [(&str, RateFaultKind, usize, usize); 11] = [
        ("", Empty, 0, 0),
        (",", ExpectedLimit, 0, 1),
        ("5/s,", ExpectedLimit, 4, 4),
        ("5/s, ", ExpectedLimit, 5, 5),
        ("5/s,,6/m", ExpectedLimit, 4, 5),
        ("5/s; 6/m", UnknownUnit, 2, 4),
        ("5/s 6/m", Trailing, 4, 7),
        ("5/s, 100/fortnight", UnknownUnit, 9, 18),
        ("5/s, 0/m", ZeroLimit, 5, 6),
        ("1/s, 2/s, 3/s, 4/s, 5/s", TooManyRates, 18, 23),
        ("1/s, 2/s, 3/s, 4/s,", TooManyRates, 18, 19),
    ];
    for (text, kind, start, end) in forms {
        let fault = Limits::parse(text).expect_err(text);
        assert_eq!(
            (fault.kind(), fault.start(), fault.end()),
            (kind, start, end),
            "{text:?}"
        );
        let error = text.parse::<Limits>().unwrap_err();
        assert_eq!((error.fault(), error.text()), (fault, text));
    }
}

#[test]
fn bursts_belong_to_the_rates_they_stand_beside() {
    let rates = [rate("100/h"), rate("5/s")];
    let limits = Limits::from_rates(&rates, &[200, 20]).unwrap();
    assert_eq!(limits.to_string(), "5/s burst 20, 100/h burst 200");
    assert!(limits.has_burst());
    assert_eq!(limits.capacity(Algorithm::TokenBucket), 20);
    assert_eq!(
        limits.capacity(Algorithm::FixedWindow),
        5,
        "windows have no burst"
    );
    // One for all.
    let limits = Limits::from_rates(&rates, &[7]).unwrap();
    assert_eq!(limits.to_string(), "5/s burst 7, 100/h burst 7");
    // None: as much as a period allows.
    let limits = Limits::from_rates(&rates, &[]).unwrap();
    assert!(!limits.has_burst());
    assert_eq!(limits.capacity(Algorithm::TokenBucket), 5);
    // `with_bursts` takes them in the order that the rates are kept in.
    let limits = limits.with_bursts(&[20, 200]).unwrap();
    assert_eq!(limits.to_string(), "5/s burst 20, 100/h burst 200");
}

#[test]
fn bursts_that_fit_nothing_are_refused() {
    let two: Limits = "5/s, 100/h".parse().unwrap();
    for count in [0, 3, 4, 5] {
        let fault = BurstFault::Count {
            bursts: count,
            rates: 2,
        };
        assert_eq!(two.with_bursts(&vec![9; count]), Err(fault));
        if count > 0 {
            assert_eq!(
                Limits::from_rates(&[rate("5/s"); 2], &vec![9; count]),
                Err(fault)
            );
        }
    }
    let fault = BurstFault::Count {
        bursts: 3,
        rates: 2,
    };
    assert_eq!(
        fault.to_string(),
        "give one burst for each rate: found 3 for 2"
    );
    assert_eq!(two.with_bursts(&[0]), Err(BurstFault::Zero));
    assert_eq!(two.with_bursts(&[9, 0]), Err(BurstFault::Zero));
    // A bucket of 1/d is full after so many days.
    let days = u32::try_from(MAX_FILL.as_secs() / 86_400).unwrap();
    let daily = Limit::new(rate("1/d"));
    assert_eq!(daily.with_burst(days).unwrap().burst(), Some(days));
    assert_eq!(daily.with_burst(days + 1), Err(BurstFault::TooLarge));
    assert_eq!(
        Limits::from_rates(&[], &[]),
        Err(BurstFault::Count {
            bursts: 0,
            rates: 0
        })
    );
    let five = [rate("1/s"); MAX_LIMITS + 1];
    assert!(Limits::from_rates(&five, &[]).is_err());
    assert!(Limits::several(&[]).is_none() && Limits::several(&five.map(Limit::new)).is_none());
}

/// Read while compiling.
const SEARCH: Limits = match Limits::parse("100/h, 5/s") {
    Ok(limits) => limits,
    Err(fault) => panic!("{}", fault.kind().expected()),
};

#[test]
fn lists_are_read_in_const() {
    const BURSTS: Limits = match SEARCH.with_bursts(&[10, 100]) {
        Ok(limits) => limits,
        Err(fault) => panic!("{}", fault.expected()),
    };
    assert_eq!(SEARCH.to_string(), "5/s, 100/h");
    assert_eq!(BURSTS.as_slice()[1].burst(), Some(100));
    let place: Vec<_> = SEARCH
        .as_slice()
        .iter()
        .map(|limit| limit.rate().period())
        .collect();
    assert_eq!(place, [Duration::from_secs(1), Duration::from_hours(1)]);
}

#[test]
fn limits_are_made_of_what_there_is() {
    let five = rate("5/s");
    let one = Limits::from(five);
    assert_eq!(one, Limits::new(Limit::new(five)));
    assert_eq!(
        (one, one),
        (Limits::from(&five), Limits::from(Limit::from(five)))
    );
    assert_eq!(
        Limits::from([rate("9/h"), five]),
        "5/s, 9/h".parse().unwrap()
    );
    assert_eq!(Limits::from([five; 4]).as_slice().len(), 4);
}

fn any_rate() -> impl Strategy<Value = Rate> {
    let rate = (1..=u32::MAX, 1..=366 * 86_400_000_u64);
    rate.prop_filter_map("too fast", |(limit, millis)| {
        Rate::new(limit, Duration::from_millis(millis)).ok()
    })
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_list_is_sorted_and_shown_as_it_is_read(
        rates in prop::collection::vec(any_rate(), 1..=MAX_LIMITS),
    ) {
        let text = rates.iter().map(Rate::to_string).collect::<Vec<_>>().join(",");
        let limits: Limits = text.parse().unwrap();
        prop_assert_eq!(limits.to_string().parse(), Ok(limits));
        prop_assert_eq!(limits.as_slice().len(), rates.len());
        prop_assert!(limits.as_slice().is_sorted_by_key(|limit| limit.rate().period()));
        let mut backwards = rates.clone();
        backwards.reverse();
        prop_assert_eq!(Limits::from_rates(&backwards, &[]), Ok(limits));
    }

    #[test]
    fn no_list_makes_it_panic(text in "[0-9_smhdw/, é.-]{0,40}") {
        if let Err(error) = text.parse::<Limits>() {
            let fault = error.fault();
            prop_assert!(text.get(fault.start()..fault.end()).is_some());
            prop_assert!(error.to_string().starts_with("invalid rate"));
        }
    }

    #[test]
    fn a_bucket_is_filled_by_its_burst_and_each_interval_fits_into_its_fill(
        rate in any_rate(),
        burst in 1..=u32::MAX,
    ) {
        let Ok(limit) = Limit::new(rate).with_burst(burst) else {
            let fill = u128::from(burst) * rate.period().as_nanos();
            prop_assert!(fill > MAX_FILL.as_nanos() * u128::from(rate.limit()));
            return Ok(());
        };
        // The fill, in fractions of one over the limit of a nanosecond, is exact.
        let terms = limit.terms();
        let (q, per_q) = (u128::from(terms.q), u128::from(rate.limit() / terms.q));
        let fill = (u128::from(terms.fill.whole) * q + u128::from(terms.fill.part)) * per_q;
        prop_assert_eq!(fill, u128::from(burst) * rate.period().as_nanos());
        prop_assert!(terms.fill.part < terms.q && terms.interval.part < terms.q);
        prop_assert_eq!(limit.terms_in(1_000_000_000), *terms);
    }
}
