//! What every backend is measured with.
//!
//! - [`model`]: what every decision should be: each algorithm in its most obvious form.
//! - [`servers`]: the real servers that tests start.
//! - [`mod@conformance`]: the cases that every backend has to pass, chosen by what it says it can do.

// A case panics when the backend is wrong: that is what it is for.
#![allow(clippy::missing_panics_doc)]

pub mod conformance;
pub mod model;
pub mod servers;
