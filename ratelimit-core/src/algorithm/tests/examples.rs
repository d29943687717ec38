//! The algorithms with concrete numbers.

use core::time::Duration;

use super::{Algorithm, NOON, SECOND, Subject, nanos};
use crate::decision::Outcome;

fn seconds(decision: &crate::Decision) -> (u64, u64) {
    (
        decision.retry_after().as_secs(),
        decision.reset_after().as_secs(),
    )
}

#[test]
fn a_token_bucket_refills_continuously() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::Gcra,
        Algorithm::LeakyBucket,
    ] {
        let mut bucket = Subject::new(algorithm, "10/m");
        for left in (0..10).rev() {
            assert_eq!(bucket.at(NOON, 1).remaining(), left);
        }
        let denied = bucket.at(NOON, 1);
        assert_eq!((denied.is_allowed(), seconds(&denied)), (false, (6, 60)));
        assert_eq!(bucket.at(NOON, 3).retry_after().as_secs(), 18);
        assert!(bucket.at(NOON + 6 * SECOND, 1).is_allowed());
        assert_eq!(bucket.remaining(NOON + 6 * SECOND), 0);
        assert_eq!(bucket.remaining(NOON + 30 * SECOND), 4);
        assert_eq!(
            bucket.remaining(NOON + 600 * SECOND),
            10,
            "never above the burst"
        );
    }
}

#[test]
fn a_burst_is_the_capacity_of_the_bucket() {
    let limits = "10/s".parse::<crate::Limits>().unwrap();
    let mut small = Subject::of(Algorithm::TokenBucket, &limits.with_bursts(&[1]).unwrap());
    assert!(small.at(NOON, 1).is_allowed());
    assert_eq!(small.at(NOON, 1).retry_after(), Duration::from_millis(100));
    assert_eq!(
        small.peek(NOON, 2).retry_after(),
        Duration::from_nanos(u64::MAX),
        "never"
    );
    let mut large = Subject::of(Algorithm::TokenBucket, &limits.with_bursts(&[50]).unwrap());
    assert!(large.at(NOON, 50).is_allowed());
    assert_eq!(large.at(NOON, 50).retry_after(), Duration::from_secs(5));
}

#[test]
fn a_leaky_bucket_that_may_wait_spaces_calls_evenly() {
    let mut queue = Subject::new(Algorithm::LeakyBucket, "10/s");
    let wait = Duration::from_millis(450);
    let outcomes: Vec<_> = (0..7).map(|_| queue.within(NOON, wait).outcome()).collect();
    let after = |millis| Outcome::AllowedAfter(Duration::from_millis(millis));
    let expected = [
        Outcome::Allowed,
        after(100),
        after(200),
        after(300),
        after(400),
        Outcome::Denied,
        Outcome::Denied,
    ];
    assert_eq!(outcomes, expected);
    let denied = queue.within(NOON, wait);
    assert_eq!(denied.retry_after(), Duration::from_millis(50));
    assert_eq!(queue.within(NOON + SECOND / 20, wait).outcome(), after(450));
    // A queue that is full denies, however long the call may wait.
    let mut queue = Subject::new(Algorithm::LeakyBucket, "2/s");
    let outcomes: Vec<_> = (0..3)
        .map(|_| queue.within(NOON, Duration::from_mins(1)).outcome())
        .collect();
    assert_eq!(outcomes, [Outcome::Allowed, after(500), Outcome::Denied]);
}

#[test]
fn a_fixed_window_is_aligned_to_the_epoch() {
    let mut window = Subject::new(Algorithm::FixedWindow, "2/m");
    let at = NOON + 45 * SECOND;
    assert!(window.at(at, 1).is_allowed() && window.at(at, 1).is_allowed());
    let denied = window.at(at, 1);
    assert_eq!((denied.remaining(), seconds(&denied)), (0, (15, 15)));
    assert!(!window.at(NOON + 60 * SECOND - 1, 1).is_allowed());
    assert!(
        window.at(NOON + 60 * SECOND, 2).is_allowed(),
        "twice the limit across the boundary"
    );
}

#[test]
fn a_sliding_window_is_exact_in_every_interval() {
    let mut window = Subject::new(Algorithm::SlidingWindow, "3/m");
    assert!(window.at(NOON, 1).is_allowed());
    assert!(window.at(NOON + 20 * SECOND, 2).is_allowed());
    let denied = window.at(NOON + 30 * SECOND, 1);
    assert_eq!((denied.remaining(), seconds(&denied)), (0, (30, 50)));
    assert_eq!(window.at(NOON + 30 * SECOND, 2).retry_after().as_secs(), 50);
    assert!(!window.at(NOON + 60 * SECOND - 1, 1).is_allowed());
    assert!(
        window.at(NOON + 60 * SECOND, 1).is_allowed(),
        "half-open: the first one is out"
    );
    assert_eq!(window.remaining(NOON + 60 * SECOND), 0);
    assert_eq!(window.remaining(NOON + 80 * SECOND), 2);
}

#[test]
fn a_sliding_window_counter_weighs_the_window_before() {
    let mut window = Subject::new(Algorithm::SlidingWindowCounter, "10/m");
    assert!(window.at(NOON + 30 * SECOND, 8).is_allowed());
    // A quarter into the next window, three quarters of the eight count.
    let quarter = NOON + 75 * SECOND;
    assert_eq!(window.remaining(quarter), 4);
    assert!(window.at(quarter, 4).is_allowed());
    let denied = window.at(quarter, 1);
    assert_eq!((denied.remaining(), seconds(&denied)), (0, (7, 105)));
    assert_eq!(
        denied.retry_after(),
        Duration::from_millis(7_500),
        "an eighth of a minute"
    );
    assert!(window.at(quarter + 7_500_000_000, 1).is_allowed());
}

#[test]
fn of_several_rates_each_keeps_its_own_report() {
    let mut both = Subject::new(Algorithm::FixedWindow, "2/s, 3/m");
    assert!(both.at(NOON, 1).is_allowed() && both.at(NOON, 1).is_allowed());
    let denied = both.at(NOON, 1);
    let reports: Vec<_> = denied
        .quotas()
        .map(|quota| (quota.limit, quota.remaining, quota.retry_after.as_secs()))
        .collect();
    assert_eq!(
        reports,
        [(2, 0, 1), (3, 1, 0)],
        "nothing was charged to the second"
    );
    assert_eq!(
        (denied.limit(), denied.remaining(), seconds(&denied)),
        (2, 0, (1, 60))
    );
    assert!(both.at(NOON + SECOND, 1).is_allowed());
    let denied = both.at(NOON + SECOND, 1);
    assert_eq!((denied.limit(), seconds(&denied)), (3, (59, 59)));
}

#[test]
fn nothing_drifts() {
    for text in [
        "9_999_991/s",
        "7/4w",
        "3/s",
        "1/4w",
        "10_000_000/s",
        "977/ms",
        "4294967295/5s",
    ] {
        let limits = text.parse::<crate::Limits>().unwrap();
        let rate = limits.as_slice()[0].rate();
        let (limit, period) = (u64::from(rate.limit()), nanos(rate.period()));
        let mut bucket = Subject::of(Algorithm::TokenBucket, &limits.with_bursts(&[1]).unwrap());
        let mut now = NOON;
        let calls = (2 * limit).min(200_000);
        for _ in 0..calls {
            let decision = bucket.at(now, 1);
            assert!(decision.is_allowed(), "{text}");
            now += nanos(bucket.at(now, 1).retry_after());
        }
        // Always asked at the first tick that is late enough: after n calls, n intervals rounded
        // up, and never a tick more.
        let exact = u128::from(calls) * u128::from(period);
        let _ = exact;
        let elapsed = u128::from(now - NOON);
        assert!(elapsed * u128::from(limit) >= exact, "{text}: too early");
        let each = u128::from(limit) * u128::from(calls);
        assert!(
            elapsed * u128::from(limit) <= exact + each,
            "{text}: too late"
        );
    }
}

#[test]
fn a_long_run_admits_what_the_rate_says() {
    // Saturated for a thousand periods, tick by odd tick.
    let mut bucket = Subject::new(Algorithm::TokenBucket, "7/ms");
    let mut admitted = 0_u32;
    let mut now = NOON;
    while now <= NOON + 1_000_000_000 {
        while bucket.at(now, 1).is_allowed() {
            admitted += 1;
        }
        now += 33_333;
    }
    let last = now - 33_333 - NOON;
    assert_eq!(u64::from(admitted), 7 + last * 7 / 1_000_000);
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    for algorithm in Algorithm::ALL {
        for limits in ["1/366d", "4294967295/5s", "1/ms", "1000000000/s"] {
            for now in [0, 1, i64::MAX as u64 - 1, i64::MAX as u64, u64::MAX] {
                let mut subject = Subject::new(algorithm, limits);
                assert!(
                    subject.at(now, 1).is_allowed(),
                    "{algorithm} {limits} {now}"
                );
                let capacity = subject.policy.limits().capacity(algorithm);
                for cost in [0, capacity, capacity.saturating_add(1), u32::MAX] {
                    subject.at(now, cost);
                    subject.at(0, cost);
                    subject.at(u64::MAX, cost);
                }
            }
        }
    }
}
