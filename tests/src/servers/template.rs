//! [`template`]: data folders that take long to make are made once, and copied for each server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, process};

use super::process::Folder;

/// The folder of what no distribution's package has, and of what is made once: that of the workspace, if the variable
/// `RATELIMIT_SERVERS` names no other.
pub(super) fn installed() -> PathBuf {
    let named = env::var_os("RATELIMIT_SERVERS").map(PathBuf::from);
    named.unwrap_or_else(|| {
        // What runs tests sets it, and the folder may have moved since they were compiled.
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        package.join("../target/servers")
    })
}

/// A copy of the folder `name`, in `into`, which `make` makes if no test has made it yet.
pub(super) fn template(name: &str, into: &Folder, make: impl FnOnce(&Path)) -> PathBuf {
    let all = installed().join("templates");
    fs::create_dir_all(&all).expect("a folder for templates");
    let template = all.join(name);
    // Tests of other processes want it, too.
    let lock = File::create(all.join(format!("{name}.lock"))).expect("a lock");
    lock.lock().expect("a lock");
    if !template.exists() {
        let ready = all.join(format!("{name}.{}", process::id()));
        let _ = fs::remove_dir_all(&ready);
        // Whoever the server runs as has to reach it, which a home folder need not allow.
        let work = Folder::new();
        let data = work.path().join("data");
        make(&data);
        run(Command::new("cp").arg("-a").args([&data, &ready]));
        fs::rename(&ready, &template).expect("nobody else made it");
    }
    drop(lock);
    let data = into.path().join("data");
    run(Command::new("cp").arg("-a").args([&template, &data]));
    data
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command) {
    let done = command.output();
    let done = done.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(
        done.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Whether this process may do everything, and a server that refuses to has to be somebody else.
pub(super) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}
