//! The arithmetic: one file per algorithm, each a plain-data state and a pure step.

mod kind;
mod terms;

pub use kind::{Algorithm, AlgorithmSet, UnknownAlgorithm};
pub use terms::{Span, Terms};
