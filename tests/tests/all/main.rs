//! Integration tests of the public interface.

mod axum;
mod backends;
mod bridge;
mod concurrency;
mod guard;
mod plain;
mod postures;
mod registry;
mod scopes;
mod wait;
