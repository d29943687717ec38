//! Ports, and one question at a time to a server that speaks Redis's protocol.

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::hash::RandomState;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where ports are taken from: below those that the system gives to clients, so that no client has the
/// port of a server that is down for a moment, nor connects to itself there.
const PORTS: core::ops::Range<u64> = 10_000..32_000;

/// A port that was free just now.
pub(super) fn free_port() -> u16 {
    let random = || RandomState::new().build_hasher().finish();
    (0..1_000)
        .map(|_| PORTS.start + random() % (PORTS.end - PORTS.start))
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// Asks something on a connection of its own, and returns the whole answer as it came.
pub(super) fn ask(port: u16, password: Option<&str>, command: &str) -> Result<String> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    if let Some(password) = password {
        say(&mut stream, &format!("AUTH {password}"))?;
    }
    let answer = say(&mut stream, command)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn say(stream: &mut BufReader<TcpStream>, command: &str) -> Result<Vec<u8>> {
    stream
        .get_mut()
        .write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    read_answer(stream, &mut answer)?;
    Ok(answer)
}

/// Reads one answer, with all that is in it. A server that hangs up has said nothing more.
fn read_answer(stream: &mut impl BufRead, answer: &mut Vec<u8>) -> Result<()> {
    let start = answer.len();
    if stream.read_until(b'\n', answer)? == 0 {
        return Ok(());
    }
    let count = || -> Result<u64> {
        let digits = String::from_utf8_lossy(&answer[start + 1..]);
        let count: i64 = digits.trim().parse().map_err(Error::other)?;
        // What is not there at all has a length of -1.
        Ok(u64::try_from(count).unwrap_or_default())
    };
    match answer[start] {
        b'$' if answer[start + 1] != b'-' => {
            let length = count()? + 2;
            let read = stream.take(length).read_to_end(answer)?;
            if read as u64 != length {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        b'*' => {
            for _ in 0..count()? {
                read_answer(stream, answer)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A word of a command, in quotes and escapes that leave nothing to be misread.
pub(super) fn quoted(word: &[u8]) -> String {
    let bytes: Vec<_> = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{}\"", bytes.concat())
}

/// The text in an answer, without its length, and without the mark before a line of text.
pub(super) fn text(answer: &str) -> &str {
    let text = match answer.strip_prefix('$') {
        Some(rest) => rest.split_once('\n').map_or("", |(_, text)| text),
        None => answer.trim_start_matches(['+', ':']),
    };
    text.trim_end()
}
