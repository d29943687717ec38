//! Integration tests of the public interface.

mod axum;
mod backends;
mod bridge;
mod cas;
mod concurrency;
mod guard;
mod layers;
mod lines;
mod memcached;
mod memory;
mod mongodb;
mod plain;
mod postures;
mod processes;
mod redis;
mod registry;
mod scopes;
mod servers;
mod sql;
mod wait;
mod wrong_backends;
