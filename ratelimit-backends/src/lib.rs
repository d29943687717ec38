//! The backends of the `ratelimit` framework, a feature each.
//!
//! | feature | backend | one decision is |
//! |---|---|---|
//! | `memory` | [`MemoryBackend`](memory::MemoryBackend) | one lock of one shard of this process's memory |

#[cfg(feature = "memory")]
pub mod memory;
