//! [`Valkey`]: a server that came from Redis, and speaks like it.

use std::env;

use super::options::Options;
use super::process::Program;
use super::redis::Redis;
use super::template::installed;

/// The program's name.
const SERVER: &str = "valkey-server";

/// Starts Valkey servers. A running one is a [`Redis`] by all that can be asked of it.
#[derive(Debug)]
pub enum Valkey {}

impl Valkey {
    /// Starts one.
    pub fn start() -> Redis {
        Self::options().start()
    }

    /// Says first how it is to be started; a cluster or sentinels can be started by it, too.
    pub fn options() -> Options {
        let installed = installed().join("valkey").join(SERVER);
        let path = if is_on_path(SERVER) || !installed.exists() {
            SERVER.into()
        } else {
            installed
        };
        let install = ".ci/servers";
        Options::new(Program { path, install })
    }
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
