//! Backends around backends: each is a [`Layer`](ratelimit_core::Layer) of its own, and they compose.

mod denial_cache;
mod timeout;

pub use denial_cache::{DenialCache, DenialStats};
pub use timeout::Timeout;
