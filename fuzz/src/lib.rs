//! What must hold for every input, a module for each fuzz target.
//!
//! Each module has a function `check`, which takes the fuzzer's bytes and panics where a property
//! does not hold. The programs in `fuzz_targets/` hand the bytes over and do nothing else.

pub mod configuration;
pub mod keys;
pub mod rates;
pub mod requests;
pub mod states;
mod text;
