//! What is asked of a server at start-up.

use std::sync::Arc;

use memcache::exp::{Delete, Get, Meta, MutationStatus, Set, Ttl};
use ratelimit_core::{Error, ErrorKind};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::errors::broken;
use super::server::Server;

/// The oldest version that has the meta commands as they have been since.
const OLDEST: (u32, u32, u32) = (1, 6, 10);

/// No answer to what is asked here is longer.
const LONGEST: u64 = 64 * 1024;

/// How long what is written here stays, should it not be removed.
const PROBE: Ttl = Ttl::secs(10);

/// What a server says of itself.
struct Says {
    version: String,
    /// In the order in which it says them; none where it does not tell.
    settings: Vec<(String, String)>,
}

impl Says {
    fn setting(&self, name: &str) -> Option<&str> {
        let mut settings = self.settings.iter();
        let found = settings.find(|(setting, _)| setting == name)?;
        Some(&found.1)
    }
}

/// Which version the server has, as it says it.
pub(super) async fn version(address: &str) -> Result<String, Error> {
    Ok(ask(address, false).await?.version)
}

/// Tries all that will be done with the server, with keys of that prefix; `log` is how large a log can be.
pub(super) async fn check(server: &Arc<Server>, prefix: &str, log: u32) -> Result<(), Error> {
    let address = &*server.address;
    let says = ask(address, true).await?;
    if is_too_old(&says.version) {
        let message = format!(
            "memcached at {address}: it has version {}, and {}.{}.{} or later is needed",
            says.version, OLDEST.0, OLDEST.1, OLDEST.2
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if says.setting("cas_enabled") == Some("no") {
        return Err(no_cas(address));
    }
    let item = says.setting("item_size_max");
    if let Some(item) = item.and_then(|item| item.parse().ok()) {
        server.takes(item);
    }
    // What a state has besides is little; the rates of a policy can have a log each.
    let needed = usize::try_from(log)
        .unwrap_or(usize::MAX)
        .saturating_mul(16);
    if needed > server.largest() {
        let message = format!(
            "memcached at {address}: a log of {log} units takes {needed} bytes, and its items hold {}; lower `max_log`, or \
             start the server with larger items (`-I`)",
            server.largest()
        );
        return Err(Error::new(ErrorKind::Configuration, message));
    }
    compares(
        server,
        &format!("{prefix}:probe:{:016x}", fastrand::u64(..)),
    )
    .await
}

/// Whether it stores what is compared, and nothing else.
async fn compares(server: &Arc<Server>, key: &str) -> Result<(), Error> {
    let address = &*server.address;
    let set = async |set: Set| {
        let done = server.run(vec![set.ttl(PROBE)]).await.pop();
        done.unwrap_or_else(|| Err(odd(address)))
            .map(|it| it.status)
    };
    if set(Set::new(key, "1").add()).await? != MutationStatus::Applied {
        return Err(odd(address));
    }
    let got = server.run(vec![Get::new(key).meta(Meta::NONE.cas())]).await;
    let got = got
        .into_iter()
        .next()
        .unwrap_or_else(|| Err(odd(address)))?;
    let version = match got.item.cas {
        Some(0) => return Err(no_cas(address)),
        Some(version) if got.value.as_deref() == Some(b"1") => version,
        _ => return Err(odd(address)),
    };
    let other = set(Set::new(key, "2").compare_cas(version ^ 1)).await?;
    let again = set(Set::new(key, "2").add()).await?;
    let same = set(Set::new(key, "2").compare_cas(version)).await?;
    let removed = server.run(vec![Delete::new(key)]).await.pop();
    removed.unwrap_or_else(|| Err(odd(address)))?;
    match (other, again, same) {
        (MutationStatus::CasMismatch, MutationStatus::AlreadyExists, MutationStatus::Applied) => {
            Ok(())
        }
        _ => Err(odd(address)),
    }
}

/// Asks for the version and perhaps the settings, by the commands of old that every server has.
async fn ask(address: &str, settings: bool) -> Result<Says, Error> {
    let failed = |failure| broken(address, &failure);
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    let mut stream = BufReader::new(stream.take(LONGEST));
    let mut line = Vec::new();
    let version = next(&mut stream, "version\r\n", &mut line)
        .await
        .map_err(failed)?;
    let Some(version) = version.strip_prefix("VERSION ") else {
        return Err(no_memcached(address, &version));
    };
    let mut says = Says {
        version: version.to_owned(),
        settings: Vec::new(),
    };
    if settings {
        let mut said = next(&mut stream, "stats settings\r\n", &mut line)
            .await
            .map_err(failed)?;
        // Who does not tell them says an error instead.
        while let Some(setting) = said.strip_prefix("STAT ") {
            if let Some((name, value)) = setting.split_once(' ') {
                says.settings.push((name.to_owned(), value.to_owned()));
            }
            said = next(&mut stream, "", &mut line).await.map_err(failed)?;
        }
    }
    Ok(says)
}

/// Says something, if there is anything to say, and reads the next line.
async fn next(
    stream: &mut BufReader<tokio::io::Take<TcpStream>>,
    says: &str,
    line: &mut Vec<u8>,
) -> Result<String, std::io::Error> {
    stream
        .get_mut()
        .get_mut()
        .write_all(says.as_bytes())
        .await?;
    line.clear();
    stream.read_until(b'\n', line).await?;
    Ok(String::from_utf8_lossy(line).trim_end().to_owned())
}

/// Of what is no version of the usual form nothing is known.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split(|it: char| !it.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    match (number(), number(), number()) {
        (Some(major), Some(minor), patch) => (major, minor, patch.unwrap_or(u32::MAX)) < OLDEST,
        _ => false,
    }
}

pub(super) fn no_cas(address: &str) -> Error {
    let message = format!("memcached at {address}: it was started without compare-and-swap (`-C`)");
    Error::new(ErrorKind::Configuration, message)
}

fn no_memcached(address: &str, said: &str) -> Error {
    if said.contains("unauthenticated") {
        let message = format!(
            "memcached at {address}: it wants a name and a password, which its client cannot send"
        );
        return Error::new(ErrorKind::Refused, message);
    }
    let said: String = said.chars().take(80).collect();
    let message =
        format!("what is at {address} is no memcached: asked for its version, it said {said:?}");
    Error::new(ErrorKind::Protocol, message)
}

fn odd(address: &str) -> Error {
    let message = format!("memcached at {address}: it does not compare and swap as it should");
    Error::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::is_too_old;

    #[test]
    fn versions_that_are_too_old() {
        for old in ["1.6.9", "1.6.0", "1.5.22", "1.4.39", "0.9"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in [
            "1.6.10",
            "1.6.18_beta",
            "1.7.0",
            "1.6",
            "2.0.1",
            "",
            "unknown",
            "mcrouter 1.0",
        ] {
            assert!(!is_too_old(new), "{new}");
        }
    }
}
