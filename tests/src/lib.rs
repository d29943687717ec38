//! What every backend is measured with.
//!
//! - [`model`]: what every decision should be: each algorithm in its most obvious form.
//! - [`conformance`]: the cases that every backend has to pass, chosen by what it says it can do.

pub mod conformance;
pub mod model;
