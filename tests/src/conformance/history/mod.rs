//! Random histories, each answer compared with the model's.
//!
//! Failing histories are shrunk, and their seeds are kept in `tests/proptest-regressions/`, one file
//! for each algorithm, to be tried first from then on. `CONFORMANCE_TIMES=20` tries twenty times as
//! many, and `PROPTEST_RNG_SEED` others than ever before.

mod play;
mod random;

use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestError, TestRunner};
use ratelimit_core::Algorithm;

use super::Store;
use super::bench::Bench;

/// How many histories are tried.
const HISTORIES: u32 = 128;

/// Every answer of random histories is the model's.
pub fn random(store: &dyn Store, algorithm: Algorithm) {
    let times = std::env::var("CONFORMANCE_TIMES").ok();
    let times = times.and_then(|times| times.parse().ok()).unwrap_or(1);
    let path = format!(
        "{}/proptest-regressions/{algorithm}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let failures = FileFailurePersistence::Direct(path.leak());
    let config = Config {
        failure_persistence: Some(Box::new(failures)),
        ..config(HISTORIES.saturating_mul(times))
    };
    judge(store, algorithm, config);
}

/// The same for so many histories; one that fails is not shrunk, and its seed is not kept.
pub fn some(store: &dyn Store, algorithm: Algorithm, histories: u32) {
    let config = Config {
        max_shrink_iters: 0,
        ..config(histories)
    };
    judge(store, algorithm, config);
}

fn config(histories: u32) -> Config {
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x5eed),
        given @ RngSeed::Fixed(_) => given,
    };
    Config {
        cases: histories,
        failure_persistence: None,
        rng_seed,
        ..config
    }
}

fn judge(store: &dyn Store, algorithm: Algorithm, config: Config) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let histories = random::history(&bench, algorithm);
    let result = TestRunner::new(config).run(&histories, |history| {
        play::play(&bench, algorithm, &history).map_err(proptest::test_runner::TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => {
            panic!("{algorithm}: {reason}\nin the history {history:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("{algorithm}: {reason}"),
    }
}
