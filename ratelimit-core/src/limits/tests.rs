//! Several rates, and their bursts.

use super::{BurstFault, Limit, Limits, MAX_LIMITS};
use crate::algorithm::Algorithm;
use crate::rate::{Rate, RateFaultKind};

fn limits(text: &str) -> Limits {
    text.parse().unwrap()
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

#[test]
fn the_order_of_rates_has_no_meaning() {
    let sorted = limits("5/s, 10/s, 100/h, 500/d");
    for text in [
        "500/d,100/h,10/s,5/s",
        "100/h , 5/s, 500/d, 10/s",
        "10/s,500/d,5/s,100/h",
    ] {
        assert_eq!(limits(text), sorted, "{text}");
        assert_eq!(limits(text).to_string(), "5/s, 10/s, 100/h, 500/d");
    }
    assert_ne!(limits("5/s"), limits("5/s, 5/m"));
}

#[test]
fn lists_that_are_none() {
    for (text, kind) in [
        ("", RateFaultKind::Empty),
        (",", RateFaultKind::ExpectedLimit),
        ("1/s,", RateFaultKind::ExpectedLimit),
        (",1/s", RateFaultKind::ExpectedLimit),
        ("1/s,,2/m", RateFaultKind::ExpectedLimit),
        ("1/s; 2/m", RateFaultKind::UnknownUnit),
        ("1/s 2/m", RateFaultKind::Trailing),
        ("1/s,2/s,3/s,4/s,5/s", RateFaultKind::TooManyRates),
    ] {
        assert_eq!(Limits::parse(text).expect_err(text).kind(), kind, "{text}");
    }
    assert!(Limits::several(&[]).is_none());
    assert!(Limits::several(&[Limit::new(rate("1/s")); MAX_LIMITS + 1]).is_none());
}

#[test]
fn bursts_stay_with_their_rates() {
    let written = [rate("100/h"), rate("5/s")];
    let both = Limits::from_rates(&written, &[200, 20]).unwrap();
    assert_eq!(both.to_string(), "5/s burst 20, 100/h burst 200");
    assert_eq!(
        Limits::from_rates(&written, &[7]).unwrap().to_string(),
        "5/s burst 7, 100/h burst 7"
    );
    assert_eq!(
        Limits::from_rates(&written, &[]).unwrap(),
        limits("5/s, 100/h")
    );
    assert_eq!(limits("100/h, 5/s").with_bursts(&[20, 200]).unwrap(), both);
    let count = BurstFault::Count {
        bursts: 3,
        rates: 2,
    };
    assert_eq!(Limits::from_rates(&written, &[1, 2, 3]), Err(count));
    assert_eq!(
        count.to_string(),
        "give one burst for each rate: found 3 for 2"
    );
    assert_eq!(limits("1/s").with_bursts(&[0]), Err(BurstFault::Zero));
    assert_eq!(
        limits("1/4w").with_bursts(&[1_308]),
        Err(BurstFault::TooLarge)
    );
    assert!(limits("1/4w").with_bursts(&[1_307]).is_ok());
    assert!(limits("1/s").with_bursts(&[u32::MAX]).is_err(), "136 years");
    assert!(limits("2/s").with_bursts(&[u32::MAX]).is_ok());
}

#[test]
fn the_capacity_is_that_of_the_smallest() {
    let limits = limits("10/s, 100/h").with_bursts(&[50, 20]).unwrap();
    assert_eq!(limits.capacity(Algorithm::TokenBucket), 20);
    assert_eq!(limits.capacity(Algorithm::LeakyBucket), 20);
    assert_eq!(
        limits.capacity(Algorithm::FixedWindow),
        10,
        "windows have no burst"
    );
    assert!(limits.has_burst());
}

#[test]
fn it_is_all_possible_in_a_constant() {
    const LIMITS: Limits = match Limits::parse("100/h, 5/s") {
        Ok(limits) => limits,
        Err(_) => panic!(),
    };
    assert_eq!(LIMITS, limits("5/s, 100/h"));
}
