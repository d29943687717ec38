//! Backends around backends: each is a [`Layer`](ratelimit_core::Layer) of its own, and they compose.

mod timeout;

pub use timeout::Timeout;
