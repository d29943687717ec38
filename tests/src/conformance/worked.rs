//! The worked cases of each algorithm's definition, as tables.
//!
//! Each line is a moment in milliseconds after the start (2024, at the start of a minute, hour and
//! day), a cost, and what is to be said: whether it is allowed, `remaining`, `retry_after` and
//! `reset_after` in milliseconds.

use core::time::Duration;

use ratelimit_core::{Algorithm, Limits};

use super::Store;
use super::bench::{Bench, check};

/// When, how much; then whether, what remains, when again, when all.
type Line = (u64, u32, bool, u32, u64, u64);

struct Table {
    limits: &'static str,
    burst: Option<u32>,
    lines: &'static [Line],
}

const ALLOWED: bool = true;
const DENIED: bool = false;

/// Ten a minute refill one every six seconds.
const BUCKET: Table = Table {
    limits: "10/m",
    burst: None,
    lines: &[
        (0, 0, ALLOWED, 10, 0, 0),
        (0, 1, ALLOWED, 9, 0, 6_000),
        (0, 4, ALLOWED, 5, 0, 30_000),
        (0, 6, DENIED, 5, 6_000, 30_000),
        (0, 5, ALLOWED, 0, 0, 60_000),
        (0, 1, DENIED, 0, 6_000, 60_000),
        (5_999, 1, DENIED, 0, 1, 54_001),
        (6_000, 1, ALLOWED, 0, 0, 60_000),
        (15_000, 1, ALLOWED, 0, 0, 57_000),
        (15_000, 2, DENIED, 0, 9_000, 57_000),
        // Half a unit is no unit.
        (71_999, 0, ALLOWED, 9, 0, 1),
        (72_000, 10, ALLOWED, 0, 0, 60_000),
        // It never holds more than its burst.
        (1_000_000, 10, ALLOWED, 0, 0, 60_000),
    ],
};

const BURST: Table = Table {
    limits: "1/s",
    burst: Some(3),
    lines: &[
        (0, 3, ALLOWED, 0, 0, 3_000),
        (0, 3, DENIED, 0, 3_000, 3_000),
        (1_500, 2, DENIED, 1, 500, 1_500),
        (1_500, 1, ALLOWED, 0, 0, 2_500),
        (2_000, 1, ALLOWED, 0, 0, 3_000),
        (10_000, 0, ALLOWED, 3, 0, 0),
    ],
};

/// Twice the limit can pass across the end of a window.
const FIXED: Table = Table {
    limits: "10/m",
    burst: None,
    lines: &[
        (0, 0, ALLOWED, 10, 0, 0),
        (59_000, 4, ALLOWED, 6, 0, 1_000),
        (59_500, 7, DENIED, 6, 500, 500),
        (59_999, 6, ALLOWED, 0, 0, 1),
        (59_999, 1, DENIED, 0, 1, 1),
        (60_000, 10, ALLOWED, 0, 0, 60_000),
        (61_000, 1, DENIED, 0, 59_000, 59_000),
        (119_999, 1, DENIED, 0, 1, 1),
        (120_000, 1, ALLOWED, 9, 0, 60_000),
        (180_000, 0, ALLOWED, 10, 0, 0),
    ],
};

/// What is admitted at `t` counts until just before `t` + one minute.
const LOG: Table = Table {
    limits: "10/m",
    burst: None,
    lines: &[
        (0, 0, ALLOWED, 10, 0, 0),
        (50_000, 4, ALLOWED, 6, 0, 60_000),
        (51_000, 7, DENIED, 6, 59_000, 59_000),
        (55_000, 6, ALLOWED, 0, 0, 60_000),
        (60_000, 1, DENIED, 0, 50_000, 55_000),
        (60_000, 4, DENIED, 0, 50_000, 55_000),
        (60_000, 5, DENIED, 0, 55_000, 55_000),
        (109_999, 1, DENIED, 0, 1, 5_001),
        (110_000, 1, ALLOWED, 3, 0, 60_000),
        (115_000, 9, ALLOWED, 0, 0, 60_000),
        (170_000, 0, ALLOWED, 1, 0, 5_000),
        (175_000, 0, ALLOWED, 10, 0, 0),
    ],
};

/// Of the window before, what the last minute still covers.
const COUNTER: Table = Table {
    limits: "10/m",
    burst: None,
    lines: &[
        (0, 0, ALLOWED, 10, 0, 0),
        (30_000, 8, ALLOWED, 2, 0, 90_000),
        (60_000, 3, DENIED, 2, 7_500, 60_000),
        (60_000, 2, ALLOWED, 0, 0, 120_000),
        // 8 × 45 / 60 = 6.
        (75_000, 2, ALLOWED, 0, 0, 105_000),
        // 8 × 30 / 60 = 4.
        (90_000, 3, DENIED, 2, 7_500, 90_000),
        (97_499, 3, DENIED, 2, 1, 82_501),
        (97_500, 3, ALLOWED, 0, 0, 82_500),
        // Seven in this window: three more fit at its end, ten at the end of the next.
        (97_500, 3, DENIED, 0, 22_500, 82_500),
        (97_500, 10, DENIED, 0, 82_500, 82_500),
        (240_000, 0, ALLOWED, 10, 0, 0),
    ],
};

/// The shorter rate denies first, then the longer one.
const SEVERAL: Table = Table {
    limits: "2/s, 3/m",
    burst: None,
    lines: &[
        (0, 2, ALLOWED, 0, 0, 60_000),
        (0, 1, DENIED, 0, 1_000, 60_000),
        (1_000, 1, ALLOWED, 0, 0, 59_000),
        (2_000, 1, DENIED, 0, 58_000, 58_000),
        (60_000, 2, ALLOWED, 0, 0, 60_000),
    ],
};

fn tables(algorithm: Algorithm) -> Vec<Table> {
    match algorithm {
        Algorithm::FixedWindow => vec![FIXED, SEVERAL],
        Algorithm::SlidingWindow => vec![LOG],
        Algorithm::SlidingWindowCounter => vec![COUNTER],
        _ => vec![BUCKET, BURST],
    }
}

/// Every line of the algorithm's tables.
pub fn examples(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let start = bench.now();
    for table in tables(algorithm) {
        let limits: Limits = table.limits.parse().expect("limits");
        let limits = match table.burst {
            Some(burst) => limits.with_bursts(&[burst]).expect("a burst"),
            None => limits,
        };
        if !bench.can(algorithm, &limits) {
            continue;
        }
        let policy = bench.policy(algorithm, limits);
        for (at, cost, allowed, remaining, retry_after, reset_after) in table.lines {
            bench.clock().set(start.plus(Duration::from_millis(*at)));
            let check = check(&policy, b"key").with_cost(*cost);
            let peeked = bench.peek(&check);
            let decision = bench.decide(&check);
            let said = (
                decision.is_allowed(),
                decision.remaining(),
                millis(decision.retry_after()),
                millis(decision.reset_after()),
            );
            let expected = (*allowed, *remaining, *retry_after, *reset_after);
            assert_eq!(said, expected, "{policy}: {cost} at {at} ms");
            assert_eq!(peeked.is_allowed(), *allowed, "{policy}: {cost} at {at} ms");
            assert_eq!(peeked.retry_after(), decision.retry_after());
            assert_eq!(peeked.charge().cost(), 0);
            let charged = if *allowed { *cost } else { 0 };
            assert_eq!(decision.charge().cost(), charged);
            assert_eq!(
                peeked.remaining(),
                remaining + charged,
                "{policy}: a peek at {at} ms"
            );
        }
    }
}

/// Tables are in whole milliseconds, and so is what they are about.
fn millis(time: Duration) -> u64 {
    let nanos = time.as_nanos();
    assert_eq!(
        nanos % 1_000_000,
        0,
        "{time:?} is no whole number of milliseconds"
    );
    u64::try_from(nanos / 1_000_000).expect("a time")
}
