//! Rates whose interval is no whole number of ticks, over more than a hundred thousand calls.

use super::random::NASTY;
use super::{Algorithm, Limits, NOON, Subject, nanos};

/// A cheap sequence that looks random, the same in every run.
fn scrambled(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn a_bucket_that_is_never_full_gives_exactly_what_its_rate_says() {
    for text in NASTY {
        let limits: Limits = text.parse().unwrap();
        let rate = limits.as_slice()[0].rate();
        let (period, limit) = (u128::from(nanos(rate.period())), u128::from(rate.limit()));
        let limits = limits.with_bursts(&[20]).unwrap();
        let mut bucket = Subject::of(Algorithm::TokenBucket, &limits);
        let (mut now, mut seed, mut admitted) = (NOON, 1, 0_u128);
        // Up to ten units are refilled between two calls, and everything is spent at each.
        let longest = u64::try_from(10 * period / limit).unwrap();
        for _ in 0..110_000 {
            let left = bucket.remaining(now);
            assert!(bucket.at(now, left).is_allowed());
            admitted += u128::from(left);
            let elapsed = u128::from(now - NOON);
            assert_eq!(admitted, 20 + elapsed * limit / period, "{text}");
            now += scrambled(&mut seed) % longest;
            if now >= i64::MAX as u64 {
                break; // The year 2262 comes before a hundred thousand calls.
            }
        }
    }
}

#[test]
fn a_bucket_that_is_asked_at_each_retry_after_is_never_late() {
    for text in NASTY {
        let limits: Limits = text.parse().unwrap();
        let rate = limits.as_slice()[0].rate();
        let (period, limit) = (u128::from(nanos(rate.period())), u128::from(rate.limit()));
        let mut bucket = Subject::of(Algorithm::Gcra, &limits.with_bursts(&[2]).unwrap());
        let mut now = NOON;
        bucket.at(now, 2);
        for call in 1..=110_000 {
            let denied = bucket.at(now, 1);
            now += nanos(denied.retry_after());
            if now >= i64::MAX as u64 {
                break;
            }
            assert_eq!(
                u128::from(now - NOON),
                (call * period).div_ceil(limit),
                "{text}"
            );
            assert!(bucket.at(now, 1).is_allowed());
        }
    }
}
