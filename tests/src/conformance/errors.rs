//! What cannot be decided is an error of the right kind, and changes nothing.

use ratelimit_core::{
    Adjust, Algorithm, AlgorithmSet, Answers, Error, ErrorKind, Join, Limit, Limits, Rate, Sweep,
};

use super::Store;
use super::bench::{Bench, check};

fn kinds(answers: Answers) -> Vec<Option<ErrorKind>> {
    let kind = |answer: Result<_, Error>| answer.err().map(|error| error.kind());
    answers.into_iter().map(kind).collect()
}

/// A cost above the capacity can never be admitted, which is no denial.
pub fn a_cost_that_can_never_fit(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let policy = bench.policy_of(algorithm, "5/s, 3/m");
    let key = check(&policy, b"key");
    let unsatisfiable = Some(ErrorKind::Unsatisfiable);
    for cost in [4, 5, u32::MAX] {
        let asked = key.with_cost(cost);
        let now = bench.decide_now(&asked).map_err(|error| error.kind());
        assert_eq!(now.err(), unsatisfiable, "{algorithm}: {cost}");
        assert_eq!(
            kinds(bench.decide_all(&[asked], Join::Each)),
            [unsatisfiable]
        );
        assert_eq!(kinds(bench.peek_all(&[asked])), [unsatisfiable]);
    }
    // Its neighbours in a batch are answered.
    let batch = [key.with_cost(4), key, key];
    assert_eq!(
        kinds(bench.decide_all(&batch, Join::Each)),
        [unsatisfiable, None, None]
    );
    assert_eq!(bench.peek(&key).remaining(), 1);
    assert!(bench.decide(&key).is_allowed());
    assert_eq!(bench.peek(&key).remaining(), 0);
}

/// Once it is closed, every question fails.
pub fn a_closed_backend_says_so(store: &dyn Store) {
    let bench = Bench::injected(store);
    let algorithm = bench
        .capabilities()
        .algorithms
        .iter()
        .next()
        .expect("an algorithm");
    let policy = bench.policy_of(algorithm, "5/s");
    let key = check(&policy, b"key");
    let charge = bench.decide(&key).charge().clone();
    let backend = bench.next();
    bench.run(backend.close());
    bench.run(backend.close());
    let closed = Some(ErrorKind::Closed);
    if let Some(answer) = backend.decide_now(&key) {
        assert_eq!(answer.map_err(|error| error.kind()).err(), closed);
    }
    for join in [Join::Each, Join::All] {
        assert_eq!(kinds(bench.run(backend.decide(&[key], join))), [closed]);
    }
    assert_eq!(kinds(bench.run(backend.peek(&[key]))), [closed]);
    let adjust = [Adjust::refund(key, charge)];
    assert_eq!(kinds(bench.run(backend.adjust(&adjust))), [closed]);
    let kind = |error: Error| error.kind();
    assert_eq!(bench.run(backend.reset(&[key])).map_err(kind).err(), closed);
    assert_eq!(bench.run(backend.ping()).map_err(kind).err(), closed);
    assert_eq!(
        bench.run(backend.sweep(Sweep::new())).map_err(kind).err(),
        closed
    );
}

/// An algorithm that the backend does not have.
pub fn an_algorithm_that_it_does_not_have(store: &dyn Store) {
    let bench = Bench::injected(store);
    for algorithm in AlgorithmSet::ALL
        .iter()
        .filter(|algorithm| !bench.has(*algorithm))
    {
        let policy = bench.policy_of(algorithm, "5/s");
        let answers = bench.decide_all(&[check(&policy, b"key")], Join::Each);
        assert_eq!(
            kinds(answers),
            [Some(ErrorKind::Unsupported)],
            "{algorithm}"
        );
    }
}

/// A sliding window whose log could grow longer than it may.
pub fn a_log_that_is_too_long(store: &dyn Store) {
    let Some(bench) = Bench::with(store, Algorithm::SlidingWindow) else {
        return;
    };
    let max_log = bench.capabilities().max_log;
    let limits = |limit| {
        let rate = Rate::new(limit, core::time::Duration::from_hours(1)).expect("a rate");
        Limits::from(Limit::new(rate))
    };
    let policy = bench.policy(Algorithm::SlidingWindow, limits(max_log));
    let longest = check(&policy, b"key");
    assert!(bench.decide(&longest.with_cost(max_log)).is_allowed());
    let long = limits(max_log.saturating_add(1));
    let mut too_long = longest;
    too_long.limits = &long;
    for answers in [
        bench.decide_all(&[too_long], Join::Each),
        bench.decide_all(&[too_long], Join::All),
        bench.peek_all(&[too_long]),
        vec![bench.decide_now(&too_long)],
    ] {
        assert_eq!(kinds(answers), [Some(ErrorKind::Unsupported)]);
    }
}
