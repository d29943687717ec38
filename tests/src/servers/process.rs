//! [`Process`]: a program that runs as long as somebody holds it.

use core::time::Duration;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use std::{env, fs, io, process, thread};

/// How long a server may take until it answers, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program, and the folder that is its own.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    folder: PathBuf,
}

impl Process {
    /// Starts a program in a folder of its own.
    pub(super) fn start(
        program: &str,
        package: &str,
        arguments: impl FnOnce(&Path) -> Vec<String>,
    ) -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("ratelimit-{}-{number}", process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let log = fs::File::create(folder.join("log")).expect("a file in it");
        let child = Command::new(program)
            .args(arguments(&folder))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("another handle of it"))
            .stdout(log)
            .spawn();
        match child {
            Ok(child) => Self { child, folder },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _ = fs::remove_dir_all(&folder);
                panic!(
                    "`{program}` is missing: apt-get install -y --no-install-recommends {package}"
                )
            }
            Err(error) => panic!("`{program}` cannot be started: {error}"),
        }
    }

    /// Waits until it answers. `false` when it has ended instead, as when its port was taken meanwhile.
    pub(super) fn answers(&mut self, ready: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while !ready() {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return false;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the server does not answer: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// What it said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port that was free just now.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
