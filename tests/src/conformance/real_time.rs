//! Real-time cases, for the store's own clock: they wait, they are few, and they only assert bounds.

use core::time::Duration;
use std::time::Instant;

use ratelimit_core::{Algorithm, ClockKind};

use super::Store;
use super::bench::{Bench, check, is_bucket};

/// Asked without pause for a while, at least the limit is admitted, and no more than the definition
/// allows in that time.
pub fn bounds(store: &dyn Store, algorithm: Algorithm) {
    let bench = Bench::own(store);
    if !bench.has(algorithm) {
        return;
    }
    assert_ne!(
        bench.capabilities().clock,
        ClockKind::Injected,
        "its own clock"
    );
    let (limit, period) = (10, Duration::from_millis(100));
    let policy = bench.policy_of(algorithm, "10/100ms");
    let key = check(&policy, b"key");
    let started = Instant::now();
    let (mut asked, mut admitted) = (0, 0);
    // However slow the store is, it is asked for all that it may admit.
    while asked < limit || started.elapsed() < 3 * period {
        asked += 1;
        admitted += u128::from(bench.decide(&key).is_allowed());
        bench.sleep(Duration::from_micros(500));
    }
    // Time that the store saw pass, at most: a tick is rounded at either end.
    let elapsed = (started.elapsed() + 2 * bench.tick()).as_nanos();
    let periods = elapsed / period.as_nanos();
    let most = if is_bucket(algorithm) {
        limit + elapsed * limit / period.as_nanos()
    } else {
        (periods + 2) * limit
    };
    assert!(
        (limit..=most).contains(&admitted),
        "{algorithm}: {admitted} of at most {most}"
    );
}

/// Sleeping for `retry_after` is enough.
pub fn retrying(store: &dyn Store, algorithm: Algorithm) {
    let bench = Bench::own(store);
    if !bench.has(algorithm) {
        return;
    }
    let policy = bench.policy_of(algorithm, "4/80ms");
    let key = check(&policy, b"key").with_cost(3);
    for _ in 0..3 {
        let decision = bench.decide(&key);
        if !decision.is_allowed() {
            let wait = decision.retry_after();
            assert!(wait <= Duration::from_millis(160), "{algorithm}: {wait:?}");
            // A timer may wake up to a millisecond early by another clock.
            bench.sleep(wait + Duration::from_millis(1) + bench.tick());
            assert!(
                bench.decide(&key).is_allowed(),
                "{algorithm}: after {wait:?}"
            );
        }
    }
}
