//! Real servers for tests: each is started privately, on a free port of this machine's own address, with
//! its files in a folder that goes with it, and is stopped when it is dropped.
//!
//! A server that is not installed fails the test with the command that installs it.

mod process;
pub mod redis;
