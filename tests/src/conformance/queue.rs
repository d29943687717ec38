//! The leaky bucket as a queue: a call that may wait is let out when what is before it has leaked.

use core::time::Duration;

use ratelimit_core::{Algorithm, Check, Decision, Outcome};

use super::Store;
use super::bench::{Bench, check};

const SECOND: Duration = Duration::from_secs(1);

fn bench(store: &dyn Store) -> Option<Bench> {
    let bench = Bench::with(store, Algorithm::LeakyBucket)?;
    let delays = bench.capabilities().delay.contains(Algorithm::LeakyBucket);
    delays.then_some(bench)
}

fn waiting(check: Check<'_>, seconds: u64) -> Check<'_> {
    check.with_max_delay(SECOND * u32::try_from(seconds).expect("a few seconds"))
}

/// One after the other, an interval apart, whoever asks.
pub fn calls_come_out_evenly_spaced(store: &dyn Store) {
    let Some(bench) = bench(store) else { return };
    let policy = bench.policy_of(Algorithm::LeakyBucket, "10/10s");
    let key = waiting(check(&policy, b"key"), 60);
    for place in 0..10 {
        let decision = bench.decide(&key);
        assert!(decision.is_allowed());
        assert_eq!(decision.delay(), SECOND * place, "place {place}");
        let at_once = decision.outcome() == Outcome::Allowed;
        assert_eq!(at_once, place == 0, "no delay is no delay");
    }
    // Then it is full, however long one would wait.
    let denied = bench.decide(&key);
    assert_eq!((denied.is_allowed(), denied.retry_after()), (false, SECOND));
    bench.pass(SECOND * 5 / 2);
    let next = bench.decide(&key);
    assert_eq!(next.delay(), SECOND * 15 / 2);
    // A call of several units takes as many places.
    bench.pass(SECOND * 4);
    assert_eq!(bench.decide(&key.with_cost(3)).delay(), SECOND * 9 / 2);
    assert_eq!(bench.decide(&key).delay(), SECOND * 15 / 2);
    // Who may not wait is only told whether it fits.
    let at_once = bench.decide(&check(&policy, b"key"));
    assert_eq!(
        (at_once.outcome(), at_once.remaining()),
        (Outcome::Allowed, 0)
    );
}

/// A call that would be let out later than it may is denied, and costs nothing.
pub fn a_wait_that_is_too_long_is_denied(store: &dyn Store) {
    let Some(bench) = bench(store) else { return };
    let policy = bench.policy_of(Algorithm::LeakyBucket, "10/10s");
    let key = check(&policy, b"key");
    assert!(bench.decide(&key.with_cost(4)).is_allowed());
    let peeked = bench.peek(&waiting(key, 4));
    assert_eq!(peeked.outcome(), Outcome::AllowedAfter(SECOND * 4));
    assert_eq!(peeked.remaining(), 6);
    for _ in 0..3 {
        let denied = bench.decide(&waiting(key, 3));
        assert!(!denied.is_allowed());
        assert_eq!((denied.retry_after(), denied.remaining()), (SECOND, 6));
    }
    let early = SECOND.saturating_sub(bench.tick());
    bench.pass(early);
    assert!(!bench.decide(&waiting(key, 3)).is_allowed());
    bench.pass(bench.tick());
    assert_eq!(bench.decide(&waiting(key, 3)).delay(), SECOND * 3);
}

/// A place in the queue can be given back while nobody stands behind it: who does already knows
/// when to leave.
pub fn only_the_last_place_is_given_back(store: &dyn Store) {
    let Some(bench) = bench(store) else { return };
    if !bench.refunds(Algorithm::LeakyBucket) {
        return;
    }
    let policy = bench.policy_of(Algorithm::LeakyBucket, "10/10s");
    let key = waiting(check(&policy, b"key"), 60);
    let places: Vec<Decision> = (0..4).map(|_| bench.decide(&key)).collect();
    let give_back = |place: usize| bench.adjust(key, places[place].charge(), -1).remaining();
    assert_eq!(give_back(1), 6, "somebody stands behind it");
    assert_eq!(give_back(3), 7, "the last");
    assert_eq!(give_back(2), 8, "now the last");
    assert_eq!(bench.decide(&key).delay(), SECOND * 2);
}

/// Other algorithms, and a backend that does not delay, decide for now.
pub fn no_other_algorithm_delays(store: &dyn Store) {
    let bench = Bench::injected(store);
    let capabilities = bench.capabilities();
    for algorithm in capabilities.algorithms.iter() {
        if capabilities.delay.contains(algorithm) {
            continue;
        }
        let policy = bench.policy_of(algorithm, "2/m");
        let key = waiting(check(&policy, b"key"), 600);
        for _ in 0..2 {
            assert_eq!(
                bench.decide(&key).outcome(),
                Outcome::Allowed,
                "{algorithm}"
            );
        }
        assert_eq!(bench.decide(&key).outcome(), Outcome::Denied, "{algorithm}");
    }
}
