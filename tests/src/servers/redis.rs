//! [`Redis`]: a standalone server.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::process::{Process, free_port};

/// How often another port is tried.
const TRIES: usize = 5;

/// A standalone Redis server without persistence.
#[derive(Debug)]
pub struct Redis {
    /// Held until the server is dropped.
    _process: Process,
    port: u16,
}

impl Redis {
    /// Starts one.
    pub fn start() -> Self {
        for _ in 0..TRIES {
            let port = free_port();
            let mut process = Process::start("redis-server", "redis-server", |folder| {
                let port = port.to_string();
                let folder = folder.display().to_string();
                let words = [
                    "--port",
                    &port,
                    "--bind",
                    "127.0.0.1",
                    "--dir",
                    &folder,
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ];
                words.map(str::to_owned).to_vec()
            });
            if process.answers(|| ask(port, "PING").is_ok_and(|answer| answer.starts_with("+PONG")))
            {
                return Self {
                    _process: process,
                    port,
                };
            }
        }
        panic!("no port stayed free for a Redis server")
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Asks it something, and returns what it says first.
    pub fn ask(&self, command: &str) -> String {
        ask(self.port, command).expect("the server answers")
    }
}

fn ask(port: u16, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
