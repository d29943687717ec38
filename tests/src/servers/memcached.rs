//! [`Memcached`]: a server of Memcached.

use core::time::Duration;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::faults::faults;
use super::process::{Folder, Process, Program};
use super::template::is_root;
use super::wire::free_port;

const INSTALL: &str = "apt-get install -y --no-install-recommends memcached";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often another port is tried.
const TRIES: usize = 5;

/// A running server.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
    port: u16,
}

impl Memcached {
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
        for _ in 0..TRIES {
            let port = free_port();
            let number = port.to_string();
            let mut line = vec!["-l", "127.0.0.1", "-p", &number, "-U", "0", "-c", "1024"];
            line.extend(arguments);
            if is_root() {
                line.extend(["-u", "nobody"]);
            }
            let line = line.into_iter().map(str::to_owned).collect();
            let program = Program {
                path: "memcached".into(),
                install: INSTALL,
            };
            let process = Process::start(&program, line, Folder::new());
            if process.answers(|| is_ready(&process, port)) {
                return Self { process, port };
            }
        }
        panic!("no port stayed free for a server")
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks it something, written as for a person's terminal, and returns all that it says.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn ask(&self, command: &str) -> String {
        ask(self.port, command.as_bytes()).expect("the server answers")
    }

    /// Stores something for good.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub fn store(&self, key: &str, value: &[u8]) {
        let mut command = format!("ms {key} {}\r\n", value.len()).into_bytes();
        command.extend(value);
        let said = ask(self.port, &command).expect("the server answers");
        assert_eq!(said.trim_end(), "HD", "{key} is not stored");
    }

    /// A number of its statistics.
    ///
    /// # Panics
    ///
    /// If it has none of that name.
    pub fn count(&self, name: &str) -> u64 {
        let said = self.ask("stats");
        let start = format!("STAT {name} ");
        let mut found = said.lines().filter_map(|line| line.strip_prefix(&*start));
        let number = found.next().and_then(|number| number.trim().parse().ok());
        number.unwrap_or_else(|| panic!("no number {name} in {said}"))
    }
}

faults!(Memcached, is_ready);

/// Whether it answers, and not another server that has the port.
fn is_ready(process: &Process, port: u16) -> bool {
    let said = ask(port, b"stats").unwrap_or_default();
    let id = format!("STAT pid {}", process.id());
    said.lines().any(|line| line.trim_end() == id)
}

/// Asks something on a connection of its own. A command that does nothing says where the answer ends.
fn ask(port: u16, command: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[command, b"\r\nmn\r\n"].concat())?;
    let mut stream = BufReader::new(stream);
    let mut said = String::new();
    loop {
        let start = said.len();
        if stream.read_line(&mut said)? == 0 || said[start..].trim_end() == "MN" {
            said.truncate(start);
            return Ok(said);
        }
    }
}
