//! The backends of the `ratelimit` framework, a feature each.
//!
//! | feature | backend | one decision is |
//! |---|---|---|
//! | `memory` | [`MemoryBackend`](memory::MemoryBackend) | one cache line of this process's memory, mostly without a lock |
//! | `redis` | [`RedisBackend`](redis::RedisBackend) | one script call to Redis or Valkey |
//! | `cas` | [`CasBackend`](cas::CasBackend) | a load, and a compare-and-swap of what was loaded, in any store that has both |
//! | `memcached` | [`MemcachedBackend`](memcached::MemcachedBackend) | the same in Memcached |
//! | `mongodb` | [`MongoBackend`](mongodb::MongoBackend) | one `findAndModify`; several are two commands |

#[cfg(any(
    feature = "_sql",
    feature = "memcached",
    feature = "mongodb",
    feature = "redis"
))]
mod apart;
#[cfg(any(feature = "_remote", feature = "layers"))]
mod batcher;
#[cfg(feature = "cas")]
pub mod cas;
#[cfg(feature = "_remote")]
mod checks;
#[cfg(any(feature = "layers", feature = "memory"))]
mod hash;
#[cfg(feature = "layers")]
pub mod layers;
#[cfg(feature = "memcached")]
pub mod memcached;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "_remote")]
mod names;
#[cfg(any(feature = "_sql", feature = "mongodb", feature = "redis"))]
mod options;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "memcached", feature = "mongodb"))]
mod runtimes;
#[cfg(any(feature = "_sql", feature = "mongodb"))]
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    allow(dead_code, reason = "others are told less of it")
)]
mod shape;
#[cfg(feature = "_sql")]
pub mod sql;
#[cfg(feature = "_remote")]
mod stepwise;
#[cfg(any(feature = "_remote", feature = "layers"))]
mod within;
