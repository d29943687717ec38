//! How many random cases a property is tried with, and which.

use proptest::test_runner::{Config, RngSeed};

/// So many cases, the same in every run, unless `PROPTEST_RNG_SEED` says otherwise.
pub(crate) fn cases(count: u32) -> Config {
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x5eed),
        given @ RngSeed::Fixed(_) => given,
    };
    Config {
        cases: count,
        failure_persistence: None,
        rng_seed,
        ..config
    }
}
