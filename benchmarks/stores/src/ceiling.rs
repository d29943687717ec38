//! What the server can do at most: `redis-benchmark` with the script that this crate calls for one check.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use ratelimit_tests::servers::redis::Redis;

/// A command that the backend has sent, word by word.
pub struct Sent(Vec<Vec<u8>>);

/// Watches the server until it is asked to decide.
pub fn watch(server: &Redis, ask: impl FnOnce()) -> Sent {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it is there");
    stream.write_all(b"MONITOR\r\n").expect("it listens");
    let mut lines = BufReader::new(stream).lines();
    lines.next().expect("an answer").expect("which is a line");
    ask();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.contains("] \"EVALSHA\""));
    let line = line.expect("it was asked");
    let (_, words) = line.split_once("] ").expect("words behind the time");
    Sent(words_of(words.as_bytes()))
}

/// The words of a line, each in quotes, with signs escaped.
fn words_of(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut words, mut word) = (Vec::new(), None::<Vec<u8>>);
    let mut signs = line.iter().copied();
    while let Some(sign) = signs.next() {
        match (&mut word, sign) {
            (None, b'"') => word = Some(Vec::new()),
            (None, _) => {}
            (Some(_), b'"') => words.extend(word.take()),
            (Some(word), b'\\') => word.push(match signs.next() {
                Some(b'x') => {
                    let digits = [signs.next(), signs.next()].map(Option::unwrap_or_default);
                    let digits = core::str::from_utf8(&digits).expect("digits");
                    u8::from_str_radix(digits, 16).expect("two of them")
                }
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'a') => 7,
                Some(b'b') => 8,
                other => other.unwrap_or_default(),
            }),
            (Some(word), sign) => word.push(sign),
        }
    }
    words
}

impl Sent {
    /// Calls a second when it is sent by `redis-benchmark`, so many in a pipeline, for 10,000 keys.
    pub fn per_second(&self, server: &Redis, pipeline: usize, calls: usize) -> f64 {
        // An argument of that program cannot have a zero byte, so it stands in the script.
        let check = self.0.last().expect("a check");
        let check = check.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\{byte:03}");
            text
        });
        let script = include_str!("../../../ratelimit-backends/src/redis/bucket.lua");
        let script = format!("ARGV[3] = '{check}'\n{script}");
        let answer = Command::new("redis-cli")
            .args(["-p", &server.port().to_string(), "SCRIPT", "LOAD", &script])
            .output()
            .expect("redis-cli is installed");
        let hash = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        let key = "ratelimit:{user__rand_int__}:benchmark:token_bucket";
        let answer = Command::new("redis-benchmark")
            .args([
                "-p",
                &server.port().to_string(),
                "-c",
                "50",
                "--csv",
                "-r",
                "10000",
            ])
            .args(["-n", &calls.to_string(), "-P", &pipeline.to_string()])
            .args(["EVALSHA", &hash, "1", key, "", "E"])
            .output()
            .expect("redis-benchmark is installed");
        let said = String::from_utf8_lossy(&answer.stdout);
        let last = said.lines().last().expect("a line of numbers");
        let number = last.rsplit("\",\"").nth(6).unwrap_or_default();
        number
            .trim_matches('"')
            .parse()
            .unwrap_or_else(|_| panic!("{said}"))
    }
}
