//! Real servers for tests: each is started privately, on free ports of this machine's own address, with
//! its files in a folder that goes with it, and is stopped when it is dropped.
//!
//! A server that is not installed fails the test with the command that installs it; `.ci/servers`
//! installs all of them.

pub mod cluster;
pub mod faults;
pub mod mariadb;
pub mod memcached;
pub mod mongodb;
pub mod options;
pub mod postgres;
mod process;
pub use process::Folder;
pub mod proxy;
pub mod redis;
pub mod sentinel;
mod template;
pub mod tls;
pub mod valkey;
mod wire;
