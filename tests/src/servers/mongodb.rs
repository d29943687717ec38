//! [`MongoDb`]: a replica set of MongoDB, of a single node.

use std::env;
use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::faults::faults;
use super::process::{Folder, Process, Program, wait_until};
use super::template::installed;
use super::wire::free_port;

/// The program's name.
const SERVER: &str = "mongod";

/// How often other ports are tried.
const TRIES: usize = 5;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. Who asks it with [`url`](Self::url) needs no password, unless it was started with one.
#[derive(Debug)]
pub struct MongoDb {
    process: Process,
    port: u16,
    password: Option<String>,
}

impl MongoDb {
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
        let set: Vec<_> = ["--replSet", "rs0", "--oplogSize", "16"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let server = Self::launch(&set);
        let host = format!("127.0.0.1:{}", server.port);
        let members = array(&[document(&[int("_id", 0), text("host", &host)])]);
        let set = document(&[text("_id", "rs0"), field(4, "members", &members)]);
        let initiate = [field(3, "replSetInitiate", &set), text("$db", "admin")];
        ask(server.port, &initiate).expect("a replica set");
        wait_until("it writes", || is_primary(&server.process, server.port));
        server
    }

    /// Starts one that is by itself, and so has no transactions.
    pub fn standalone() -> Self {
        Self::launch(&[])
    }

    /// Starts one that lets nobody in but the user `root` with that password.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with_password(password: &str) -> Self {
        let mut server = Self::launch(&["--auth"]);
        let roles = array_of_texts(&["root"]);
        let user = [
            text("createUser", "root"),
            text("pwd", password),
            field(4, "roles", &roles),
            text("$db", "admin"),
        ];
        // Who is the first one may add the first user.
        let made = ask(server.port, &user).expect("a user");
        assert!(is_fine(&made), "{}", String::from_utf8_lossy(&made));
        server.password = Some(password.to_owned());
        server
    }

    fn launch(arguments: &[&str]) -> Self {
        for _ in 0..TRIES {
            let folder = Folder::new();
            let port = free_port();
            let mut line = vec![
                "--dbpath".to_owned(),
                folder.path().display().to_string(),
                "--port".to_owned(),
                port.to_string(),
            ];
            let usual = [
                "--bind_ip",
                "127.0.0.1",
                "--nounixsocket",
                "--wiredTigerCacheSizeGB",
                "0.25",
                "--setParameter",
                "diagnosticDataCollectionEnabled=false",
                "--setParameter",
                "ttlMonitorSleepSecs=1",
                "--setParameter",
                "enableTestCommands=1",
            ];
            line.extend(usual.iter().chain(arguments).map(|it| (*it).to_owned()));
            let program = Program {
                path: program(),
                install: ".ci/servers",
            };
            let process = Process::start(&program, line, folder);
            if process.answers(|| hello(port).is_ok_and(|it| is_fine(&it))) {
                return Self {
                    process,
                    port,
                    password: None,
                };
            }
        }
        panic!("no port stayed free for a server")
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let user = self.password.as_ref();
        let user = user.map_or(String::new(), |word| format!("root:{word}@"));
        format!(
            "mongodb://{user}127.0.0.1:{}/?directConnection=true",
            self.port
        )
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

faults!(MongoDb, is_back);

/// Where it is: on the `PATH`, or where `.ci/servers` has put it.
fn program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).any(|folder| folder.join(SERVER).is_file());
    let ours = installed().join("mongodb").join(SERVER);
    if on_path || !ours.exists() {
        SERVER.into()
    } else {
        ours
    }
}

fn hello(port: u16) -> Result<Vec<u8>> {
    ask(port, &[int("hello", 1), text("$db", "admin")])
}

/// Whether it writes; one that is by itself does so at once.
fn is_primary(_: &Process, port: u16) -> bool {
    hello(port).is_ok_and(|answer| says(&answer, b"\x08isWritablePrimary\0\x01"))
}

fn is_back(process: &Process, port: u16) -> bool {
    is_primary(process, port)
}

fn is_fine(answer: &[u8]) -> bool {
    let mut one = b"\x01ok\0".to_vec();
    one.extend(1.0_f64.to_le_bytes());
    says(answer, &one)
}

fn says(answer: &[u8], words: &[u8]) -> bool {
    answer.windows(words.len()).any(|it| it == words)
}

/// Asks one question on a connection of its own, and returns the whole answer: `OP_MSG`, with one document.
fn ask(port: u16, fields: &[Vec<u8>]) -> Result<Vec<u8>> {
    let document = document(fields);
    let length = u32::try_from(21 + document.len()).expect("it is short");
    let mut message = Vec::new();
    for number in [length, 1, 0, 2013, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(document);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&message)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let rest = u64::from(u32::from_le_bytes(length)).saturating_sub(4);
    let mut answer = Vec::new();
    stream.take(rest).read_to_end(&mut answer)?;
    Ok(answer)
}

fn document(fields: &[Vec<u8>]) -> Vec<u8> {
    let fields = fields.concat();
    let length = u32::try_from(fields.len() + 5).expect("it is short");
    [&length.to_le_bytes()[..], &fields, &[0]].concat()
}

fn array(documents: &[Vec<u8>]) -> Vec<u8> {
    let fields = documents.iter().enumerate();
    let fields: Vec<_> = fields
        .map(|(place, it)| field(3, &place.to_string(), it))
        .collect();
    document(&fields)
}

fn array_of_texts(texts: &[&str]) -> Vec<u8> {
    let fields = texts.iter().enumerate();
    let fields: Vec<_> = fields
        .map(|(place, it)| text(&place.to_string(), it))
        .collect();
    document(&fields)
}

fn field(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0], value].concat()
}

fn text(name: &str, value: &str) -> Vec<u8> {
    let length = u32::try_from(value.len() + 1).expect("it is short");
    let value = [&length.to_le_bytes()[..], value.as_bytes(), &[0]].concat();
    field(2, name, &value)
}

fn int(name: &str, value: i32) -> Vec<u8> {
    field(16, name, &value.to_le_bytes())
}
