//! [`MemcachedBuilder`]: the options of a [`MemcachedBackend`].

use core::fmt;
use core::pin::pin;
use core::time::Duration;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::join_all;
use ratelimit_core::{Clock, Error};

use super::server::Bounds;
use super::servers::Servers;
use super::{MemcachedBackend, welcome};
use crate::apart::apart;
use crate::cas::{CasBuilder, Options};
use crate::checks::{lasts, some, upwards, wrong};
use crate::within::within;

/// Where a server is unless it says otherwise.
const PORT: u16 = 11_211;

/// Makes a [`MemcachedBackend`].
#[derive(Clone)]
pub struct MemcachedBuilder {
    servers: Vec<String>,
    options: Options,
    connections: usize,
    connect_timeout: Duration,
    back_off: (Duration, Duration),
}

impl MemcachedBuilder {
    pub(super) fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            options: Options {
                forgets: true,
                max_log: MemcachedBackend::DEFAULT_MAX_LOG,
                ..Options::default()
            },
            connections: 4,
            connect_timeout: Duration::from_secs(2),
            back_off: (Duration::from_millis(10), Duration::from_secs(1)),
        }
    }

    /// What the names of all keys start with; default `ratelimit`. Programs that share servers and must not share budgets have
    /// different ones. Up to 90 letters, digits and `_ - . : @`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.options.prefix = prefix.into();
        self
    }

    /// A clock for tests; unless one is given, this process's system clock decides.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Some(Arc::new(clock));
        self
    }

    /// How long a decision may take, connecting, tries and waiting for others included; default 250 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How long it may take to connect for the first time, or after all connections broke; default 2 s. Calls that need the
    /// connection meanwhile are given up when their own [timeout](Self::timeout) is over, but the attempt goes on.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long no attempt to connect to a server is made after one that failed: the first of these times, twice as long after
    /// each more, up to the second; default 10 ms to 1 s. Calls that need the server fail at once meanwhile.
    pub fn back_off(mut self, shortest: Duration, longest: Duration) -> Self {
        self.back_off = (shortest, longest);
        self
    }

    /// How many connections to each server are used at once, one or more; default 4. They are made when they are needed, by each
    /// runtime that asks, and as many merged calls can be under way. With more of them fewer callers share a call, which costs more
    /// than it gains where the server is near.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// How often a key is tried again that others have changed between our `mg` and our `ms`; default 64. The first time at
    /// once, then after a pause that is random and grows, up to 5 ms. When this was in vain, nothing is charged, and the error
    /// is of the kind [`Overloaded`](ratelimit_core::ErrorKind::Overloaded).
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// How many checks of different callers are merged into one trip at most, one or more; default 128. With 1 nothing is
    /// merged.
    pub fn max_batch(mut self, checks: usize) -> Self {
        self.options.max_batch = checks;
        self
    }

    /// How many checks may wait, one or more; default 16,384. What comes when as many do fails at once, as
    /// [`Overloaded`](ratelimit_core::ErrorKind::Overloaded).
    pub fn max_waiting(mut self, checks: usize) -> Self {
        self.options.max_waiting = checks;
        self
    }

    /// The largest limit that a `sliding_window` may have; default 8,000, so that the logs of as many rates as a key can have
    /// fit into an item of 1 MB. A policy of one rate has room for 65,000 there. What does not fit is an error of the kind
    /// [`Unsupported`](ratelimit_core::ErrorKind::Unsupported), and charges nothing.
    pub fn max_log(mut self, max_log: u32) -> Self {
        self.options.max_log = max_log;
        self
    }

    /// A backend that connects when it is first asked. What is wrong with the options is said at once, as
    /// [`Configuration`](ratelimit_core::ErrorKind::Configuration).
    pub fn lazy(self) -> Result<MemcachedBackend, Error> {
        let addresses = self.check()?;
        let bounds = Bounds {
            // One is for who only looks.
            connections: self.connections.saturating_add(1),
            connect_timeout: self.connect_timeout,
            back_off: self.back_off,
        };
        let servers = Servers::new(addresses.into_iter(), bounds);
        let options = Options {
            in_flight: self.connections,
            ..self.options
        };
        let inner = CasBuilder::of(servers, options).build()?;
        Ok(MemcachedBackend { inner })
    }

    /// Connects to all servers, and tries all that will be done with them. What is wrong is said as
    ///
    /// - [`Connection`](ratelimit_core::ErrorKind::Connection) or [`Timeout`](ratelimit_core::ErrorKind::Timeout): one is not there, or does not answer;
    /// - [`Protocol`](ratelimit_core::ErrorKind::Protocol): what is there is no memcached;
    /// - [`Unsupported`](ratelimit_core::ErrorKind::Unsupported): it is older than version 1.6.10;
    /// - [`Refused`](ratelimit_core::ErrorKind::Refused): it wants a password, or has no memory;
    /// - [`Configuration`](ratelimit_core::ErrorKind::Configuration): it was started without compare-and-swap, a log does not fit into its
    ///   items, or the options are wrong.
    pub async fn connect(self) -> Result<MemcachedBackend, Error> {
        let (prefix, max_log) = (self.options.prefix.clone(), self.options.max_log);
        let bound = self.options.timeout.saturating_mul(10);
        let bound = bound.saturating_add(self.connect_timeout);
        let backend = self.lazy()?;
        let servers = backend.inner.store().all();
        let checks = servers.map(|server| welcome::check(server, &prefix, max_log));
        for checked in within(bound, pin!(join_all(checks))).await? {
            checked?;
        }
        Ok(backend)
    }

    /// The same for a `main` that is not async. The check is made on a thread and connections of its own, and
    /// this thread waits for it.
    pub fn connect_blocking(self) -> Result<MemcachedBackend, Error> {
        let checked = self.clone();
        let limits = apart(async move {
            let backend = checked.connect().await?;
            let servers = backend.inner.store().all();
            let limits: Vec<_> = servers.map(|server| server.largest()).collect();
            ratelimit_core::Backend::close(&backend).await;
            Ok(limits)
        })?;
        let backend = self.lazy()?;
        for (server, largest) in backend.inner.store().all().zip(limits) {
            server.holds(largest);
        }
        Ok(backend)
    }

    fn check(&self) -> Result<Vec<String>, Error> {
        self.options.check()?;
        lasts("connect_timeout", self.connect_timeout)?;
        some("connections", self.connections)?;
        upwards(self.back_off)?;
        if self.servers.is_empty() {
            return Err(wrong("there has to be one server at least"));
        }
        let addresses = self.servers.iter().map(|server| address(server));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let mut known = HashSet::new();
        match addresses.iter().find(|address| !known.insert(*address)) {
            Some(twice) => Err(wrong(format!("the server {twice} is named twice"))),
            None => Ok(addresses),
        }
    }
}

/// `host:port` of what the user says. A server is known to its keys by that.
fn address(server: &str) -> Result<String, Error> {
    let text = server.trim();
    let schemes = ["memcache://", "memcached://"].into_iter();
    let mut schemes = schemes.filter_map(|scheme| text.strip_prefix(scheme));
    let text = schemes
        .next()
        .map_or(text, |rest| rest.trim_end_matches('/'));
    if text.contains('@') {
        // What stands there may be a password.
        return Err(wrong(
            "a server cannot be logged in to: it is named by its host and port alone",
        ));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::from((address, PORT)).to_string());
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok()),
        None => (text, Some(PORT)),
    };
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"-._".contains(&it);
    match port {
        Some(port @ 1..) if !host.is_empty() && host.bytes().all(allowed) => {
            Ok(format!("{}:{port}", host.to_ascii_lowercase()))
        }
        _ => Err(wrong(format!(
            "the server {text:?} is not named as `host` or `host:port`"
        ))),
    }
}

impl fmt::Debug for MemcachedBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedBuilder")
            .field("servers", &self.check().unwrap_or_default())
            .field("options", &self.options)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn how_a_server_is_named() {
        for (named, found) in [
            ("127.0.0.1", "127.0.0.1:11211"),
            ("127.0.0.1:5", "127.0.0.1:5"),
            ("Cache.example.org", "cache.example.org:11211"),
            (" cache-1_a:7 ", "cache-1_a:7"),
            ("::1", "[::1]:11211"),
            ("[::1]", "[::1]:11211"),
            ("[::1]:7", "[::1]:7"),
            ("memcache://cache:7/", "cache:7"),
            ("memcached://cache", "cache:11211"),
        ] {
            assert_eq!(address(named).unwrap(), found);
        }
        for wrong in [
            "",
            ":7",
            "a:",
            "a:0",
            "a:x",
            "a:70000",
            "a/b",
            "redis://a",
            "a b",
            "é",
        ] {
            address(wrong).expect_err(wrong);
        }
        let error = address("memcache://user:secret@cache").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
