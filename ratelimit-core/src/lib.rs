//! The vocabulary and the arithmetic of the `ratelimit` framework.

pub mod algorithm;
mod limits;
pub mod rate;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use limits::{BurstFault, Limit, Limits, MAX_FILL, MAX_LIMITS};
pub use rate::{Rate, RateError, RateFault, RateFaultKind};
