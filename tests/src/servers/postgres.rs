//! [`Postgres`]: a server of PostgreSQL.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::faults::faults;
use super::process::{Folder, Process, Program};
use super::template::{is_root, run, template};
use super::tls::Certificates;
use super::wire::free_port;

const INSTALL: &str = "apt-get install -y --no-install-recommends postgresql";

/// How often other ports are tried.
const TRIES: usize = 5;

/// A running server, with the user `postgres`, who needs no password.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: u16,
}

impl Postgres {
    /// Starts one.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with these settings besides, as `["log_statement=all"]`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with(settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(|it| (*it).to_owned()).collect();
        Self::set(|_| settings.clone())
    }

    /// Starts one that speaks TLS with these, to those who want it.
    pub fn with_tls(certificates: &Certificates) -> Self {
        Self::set(|folder| {
            let files = certificates.write_for("postgres", folder);
            vec![
                "ssl=on".to_owned(),
                format!("ssl_cert_file={}", files.server.certificate),
                format!("ssl_key_file={}", files.server.key),
            ]
        })
    }

    fn set(settings: impl Fn(&Folder) -> Vec<String>) -> Self {
        for _ in 0..TRIES {
            let folder = Folder::new();
            let settings = settings(&folder);
            let programs = programs();
            let data = template("postgres", &folder, |data| initialise(&programs, data));
            let port = free_port();
            let mut line = vec![programs.join("postgres").display().to_string()];
            let path = data.display().to_string();
            line.extend(["-D", &path, "-p", &port.to_string()].map(str::to_owned));
            let usual = [
                "listen_addresses=127.0.0.1",
                "unix_socket_directories=",
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "max_connections=200",
                "shared_buffers=32MB",
            ];
            let usual = usual.map(str::to_owned);
            for setting in usual.into_iter().chain(settings) {
                line.extend(["-c".to_owned(), setting]);
            }
            let mut line = as_user(line);
            let program = Program {
                path: line.remove(0).into(),
                install: INSTALL,
            };
            let process = Process::start(&program, line, folder);
            if process.answers(|| is_ready(&process, port)) {
                return Self { process, port };
            }
        }
        panic!("no port stayed free for a server")
    }

    /// Where its first database is.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement as a person would, and returns what it says.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn ask(&self, statement: &str) -> String {
        let port = self.port.to_string();
        let line = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-XAtqc",
            statement,
        ];
        let done = Command::new(programs().join("psql")).args(line).output();
        let done = done.expect("psql is installed with the server");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{statement}: {said}");
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }
}

faults!(Postgres, is_ready);

fn is_ready(process: &Process, port: u16) -> bool {
    let says = process.log();
    // It says so again after each start.
    let starts = says.rsplit("starting PostgreSQL").next();
    starts.is_some_and(|it| it.contains("ready to accept connections"))
        && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The folder of its programs: the newest version of the distribution, or wherever they are.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let folders = versions.flatten().map(|it| it.path().join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<_> = folders.collect();
    all.sort();
    let mut all = all.into_iter().rev().chain(env::split_paths(&path));
    all.find(|it| {
        ["postgres", "initdb", "psql"]
            .iter()
            .all(|program| it.join(program).exists())
    })
    .unwrap_or_else(|| panic!("`postgres` is missing: {INSTALL}"))
}

fn initialise(programs: &Path, data: &Path) {
    let program = programs.join("initdb").display().to_string();
    let path = data.display().to_string();
    let line = [
        &program,
        "-D",
        &path,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-N",
        "-E",
        "UTF8",
        "--no-locale",
    ];
    let line = as_user(line.map(str::to_owned).to_vec());
    if is_root() {
        let parent = data.parent().expect("a folder around it");
        run(Command::new("chown").arg("postgres").arg(parent));
    }
    run(Command::new(&line[0]).args(&line[1..]));
}

/// It refuses to be run by root.
fn as_user(line: Vec<String>) -> Vec<String> {
    if !is_root() {
        return line;
    }
    let user = [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
    ];
    let user = user.into_iter().map(str::to_owned);
    user.chain(line).collect()
}
