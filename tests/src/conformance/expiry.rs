//! What is over leaves nothing behind, and what is not stays.

use core::time::Duration;
use std::time::Instant;

use ratelimit_core::{Algorithm, Decision, Join, Sweep, Swept};

use super::Store;
use super::bench::{Bench, check};

const KEYS: u32 = 300;

fn keys() -> Vec<[u8; 4]> {
    (0..KEYS).map(u32::to_be_bytes).collect()
}

fn kept(bench: &Bench) -> Option<u64> {
    bench.run(bench.next().ping()).expect("a pong").keys
}

fn sweep(bench: &Bench, sweep: Sweep) -> Swept {
    bench.run(bench.next().sweep(sweep)).expect("a sweep")
}

/// When every budget is full again, the store is empty; what only asked left nothing anyway.
pub fn nothing_is_left_behind(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let policy = bench.policy_of(algorithm, "5/s, 20/m");
    let keys = keys();
    let checks: Vec<_> = keys.iter().map(|key| check(&policy, key)).collect();
    let mut latest = Duration::ZERO;
    for (index, answer) in bench
        .decide_all(&checks, Join::Each)
        .into_iter()
        .enumerate()
    {
        assert!(answer.expect("a decision").is_allowed());
        let more = bench.decide(&checks[index].with_cost(u32::from(index % 2 == 0)));
        latest = latest.max(more.reset_after());
    }
    if let Some(kept) = kept(&bench) {
        assert_eq!(kept, KEYS.into(), "{algorithm}: live keys");
    }
    bench.pass(latest);
    let looked_at = bench.peek_all(&checks).into_iter().flatten();
    assert!(
        looked_at
            .into_iter()
            .all(|peeked| peeked.reset_after().is_zero())
    );
    if store.drops_by_injected_clock() {
        let told = kept(&bench);
        let dry = sweep(&bench, Sweep::new().with_dry_run(true));
        assert_eq!(dry.kept, 0, "{algorithm}: a dry run");
        assert_eq!(told, kept(&bench), "{algorithm}: a dry run removes nothing");
        let swept = sweep(&bench, Sweep::new().with_batch(7));
        assert_eq!((swept.removed, swept.kept), (dry.removed, 0), "{algorithm}");
        let again = sweep(&bench, Sweep::new());
        assert_eq!(
            (again.removed, again.kept),
            (0, 0),
            "{algorithm}: everything was swept"
        );
        if let Some(kept) = kept(&bench) {
            assert_eq!(kept, 0, "{algorithm}");
        }
    }
    // What charges nothing, or was given back, is over at once.
    for check in &checks[..9] {
        bench.decide(&check.with_cost(0));
        bench.peek(check);
        if bench.refunds(algorithm) {
            let charge = bench.decide(check).charge().clone();
            bench.adjust(*check, &charge, -1);
        }
    }
    if store.drops_by_injected_clock() {
        let swept = sweep(&bench, Sweep::new());
        assert_eq!(swept.kept, 0, "{algorithm}: nothing is in use");
        assert!(kept(&bench).is_none_or(|kept| kept == 0), "{algorithm}");
    }
}

/// A tick before a budget is full again, its key is still there, whatever is swept.
pub fn what_is_live_is_kept(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let policy = bench.policy_of(algorithm, "5/s, 20/m");
    let keys = keys();
    let checks: Vec<_> = keys
        .iter()
        .map(|key| check(&policy, key).with_cost(5))
        .collect();
    let answers = bench.decide_all(&checks, Join::Each);
    let over = answers
        .iter()
        .flatten()
        .map(Decision::reset_after)
        .min()
        .expect("some");
    bench.pass(over.saturating_sub(bench.tick()));
    let swept = sweep(&bench, Sweep::new());
    assert_eq!(swept.removed, 0, "{algorithm}");
    let others: Vec<_> = (KEYS..2 * KEYS).map(u32::to_be_bytes).collect();
    let others: Vec<_> = others.iter().map(|key| check(&policy, key)).collect();
    bench.decide_all(&others, Join::Each);
    for peeked in bench.peek_all(&checks).into_iter().flatten() {
        assert_eq!(
            peeked.reset_after(),
            bench.tick(),
            "{algorithm}: a live key was dropped"
        );
    }
}

/// By the store's own clock: keys of a short period are gone soon after it.
pub fn in_real_time(store: &dyn Store, algorithm: Algorithm) {
    let bench = Bench::own(store);
    if !bench.has(algorithm) || kept(&bench).is_none() {
        return;
    }
    let policy = bench.policy_of(algorithm, "5/50ms");
    let keys = keys();
    let checks: Vec<_> = keys.iter().map(|key| check(&policy, key)).collect();
    for answer in bench.decide_all(&checks, Join::Each) {
        assert!(answer.expect("a decision").is_allowed());
    }
    let started = Instant::now();
    while kept(&bench) != Some(0) {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{algorithm}: keys stay"
        );
        bench.sleep(Duration::from_millis(10));
        sweep(&bench, Sweep::new());
    }
}
