//! A rate in ticks, and how numbers are found from what they promise.

use ratelimit_core::Limit;

/// A rate, with its period in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) limit: u128,
    pub(super) burst: u128,
    pub(super) period: u128,
}

impl Rate {
    pub(super) fn new(limit: &Limit, tick: u128) -> Self {
        let rate = limit.rate();
        Self {
            limit: rate.limit().into(),
            burst: limit.burst().unwrap_or(rate.limit()).into(),
            period: rate.period().as_nanos() / tick,
        }
    }
}

/// The least number for which something holds that goes on to hold for every larger one.
pub(super) fn least(holds: impl Fn(u128) -> bool) -> u128 {
    if holds(0) {
        return 0;
    }
    let (mut fails, mut high) = (0, 1);
    while !holds(high) {
        (fails, high) = (high, high * 2);
    }
    while high - fails > 1 {
        let middle = fails.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            fails = middle;
        }
    }
    high
}

/// The largest number, up to a bound, for which something holds that holds for zero and for every
/// smaller one.
pub(super) fn greatest(bound: u128, holds: impl Fn(u128) -> bool) -> u128 {
    least(|number| number >= bound || !holds(number + 1))
}
