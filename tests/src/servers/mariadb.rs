//! [`MariaDb`]: a server of MariaDB, which came from MySQL and speaks like it.

use core::time::Duration;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::faults::faults;
use super::process::{Folder, Process, Program};
use super::template::{is_root, run, template};
use super::tls::Certificates;
use super::wire::free_port;

const INSTALL: &str = "apt-get install -y --no-install-recommends mariadb-server";

/// How often other ports are tried.
const TRIES: usize = 5;

/// How large the log that is written ahead is: little is changed.
const LOG: &str = "--innodb-log-file-size=8M";

/// A running server, with the database `ratelimit` and the user `root`, who needs no password.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    port: u16,
}

impl MariaDb {
    /// Starts one.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with these arguments besides.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
        Self::set(|_| arguments.clone())
    }

    /// Starts one that speaks TLS with these, to those who want it.
    pub fn with_tls(certificates: &Certificates) -> Self {
        Self::set(|folder| {
            let files = certificates.write_for("mysql", folder);
            vec![
                format!("--ssl-ca={}", files.authority),
                format!("--ssl-cert={}", files.server.certificate),
                format!("--ssl-key={}", files.server.key),
            ]
        })
    }

    fn set(arguments: impl Fn(&Folder) -> Vec<String>) -> Self {
        for _ in 0..TRIES {
            let folder = Folder::new();
            let arguments = arguments(&folder);
            let data = template("mariadb", &folder, initialise);
            let port = free_port();
            if is_root() {
                // Its socket and its number are there.
                run(Command::new("chown").arg("mysql").arg(folder.path()));
            }
            let mut line = vec![
                "--no-defaults".to_owned(),
                format!("--datadir={}", data.display()),
                format!("--port={port}"),
                format!("--socket={}", folder.file("socket")),
                format!("--pid-file={}", folder.file("pid")),
                // A server that starts removes what it finds of others where it has its temporary tables.
                format!("--tmpdir={}", folder.path().display()),
                LOG.to_owned(),
            ];
            let usual = [
                "--bind-address=127.0.0.1",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=32M",
                "--skip-log-bin",
                "--skip-name-resolve",
                "--max-connections=200",
            ];
            line.extend(usual.map(str::to_owned).into_iter().chain(arguments));
            if is_root() {
                line.push("--user=mysql".to_owned());
            }
            let program = Program {
                path: program(),
                install: INSTALL,
            };
            let process = Process::start(&program, line, folder);
            if process.answers(|| greets(&process, port)) {
                return Self { process, port };
            }
        }
        panic!("no port stayed free for a server")
    }

    /// Where its database is.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/ratelimit", self.port)
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
        let port = format!("--port={}", self.port);
        let line = [
            "--no-defaults",
            "--host=127.0.0.1",
            &port,
            "--user=root",
            "-NBe",
            statement,
            "ratelimit",
        ];
        let done = Command::new("mariadb").args(line).output();
        let done = done.expect("mariadb is installed with the server");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{statement}: {said}");
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }
}

faults!(MariaDb, greets);

/// Where it is, which people's `PATH` need not name.
fn program() -> PathBuf {
    let path = Path::new("/usr/sbin/mariadbd");
    if path.exists() {
        path.to_owned()
    } else {
        "mariadbd".into()
    }
}

/// The server speaks first.
fn greets(_: &Process, port: u16) -> bool {
    let greeting = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.read(&mut [0; 5])
    });
    matches!(greeting, Ok(5))
}

fn initialise(data: &Path) {
    let user = if is_root() {
        let parent = data.parent().expect("a folder around it");
        run(Command::new("chown").arg("mysql").arg(parent));
        vec!["--user=mysql"]
    } else {
        Vec::new()
    };
    let folder = format!("--datadir={}", data.display());
    let made = Command::new("mariadb-install-db")
        .args(["--no-defaults", &folder, LOG])
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(&user)
        .output();
    let made = made.unwrap_or_else(|_| panic!("`mariadb-install-db` is missing: {INSTALL}"));
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "mariadb-install-db failed: {said}");
    // A folder is a database.
    let database = data.join("ratelimit");
    fs::create_dir(&database).expect("a folder for the database");
    if is_root() {
        run(Command::new("chown").arg("mysql").arg(database));
    }
}
