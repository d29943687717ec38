//! [`MemcachedBackend`]: decides in Memcached.
//!
//! It is the [compare-and-swap backend](crate::cas) on Memcached's meta commands: `mg` loads a key's state with its CAS number,
//! `ms` stores the new one if that number is still the same. Two trips are a decision, one is a denial; what the callers of a
//! process ask at the same time is merged, also into one trip for many keys.
//!
//! ```no_run
//! use ratelimit_backends::memcached::MemcachedBackend;
//!
//! # async fn start() -> Result<(), ratelimit_core::Error> {
//! let backend = MemcachedBackend::connect(["cache-1:11211", "cache-2:11211"]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A cache is not a ledger
//!
//! Memcached may forget a key at any time, and a forgotten key is a fresh one, with its whole budget:
//!
//! - when its memory is full it evicts what was not used for longest (`-m`; keys that are limited right now are in use);
//! - a restart, a crash and `flush_all` forget everything;
//! - a server that has no memory for a state says so, and forgets what it had of the key.
//!
//! [`Capabilities::forgets`](ratelimit_core::Capabilities::forgets) says so. Where that is not good enough, use another store.
//!
//! The clock is the client's, [as it is said there](crate::cas#whose-clock). The servers' clocks count for how long they keep a
//! key alone; above 30 days they are told until when, and so have to be right within days.
//!
//! # Several servers
//!
//! Each key has one server, found by rendezvous hashing over the names of the servers: their order does not matter, and a server
//! more or less moves no keys but its own, which are fresh then. All processes have to name the servers alike. A server that
//! does not answer fails the calls that need it, and no others: its keys are not moved, which would be a fresh budget whenever
//! one process does not reach it.
//!
//! A name that stands for several servers, as those of some clusters do, is none of one: each process may find another of them,
//! with a budget of its own. Name each server.
//!
//! # Why no counters
//!
//! `ma` adds to a number and returns it, in one trip. But it adds what is then denied as well. A call that would still fit is
//! denied for that, and so is one after a refund, or after the limit was raised; until the window is over, nobody can tell what was
//! admitted. And a number has no room for a second rate, for the window before, or for a clock that steps back. It is exact for
//! the calls of one unit under one `fixed_window` of one rate that never changes, and of which nothing is ever given back or put
//! right; which calls will come is known to nobody who makes a key. So all that it could save is a trip of those
//! that are admitted, where callers do not share theirs as it is.
//!
//! # What it cannot do
//!
//! It needs version 1.6.10 or later. TCP alone; no TLS, no login, as its client has neither. One decision is about one key
//! ([`JoinScope::OneKey`](ratelimit_core::JoinScope::OneKey)).
//!
//! # Where it runs
//!
//! Connections belong to the tokio runtime on which they were made: there are some for each runtime that asks. Callers that block
//! have their own.
//!
//! - `builder`: the options; `welcome`: what is asked of a server at start-up.
//! - `servers`: all of them, as a store that compares and swaps; `server`: one of them; `errors`: what is made of failures.

mod builder;
mod errors;
mod server;
mod servers;
mod welcome;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Answers, Backend, BoxFuture, Capabilities, Check, Error, Join, Pong, Sweep, Swept,
};

use crate::cas::CasBackend;
use servers::Servers;

pub use builder::MemcachedBuilder;

/// Decides in Memcached: see the [module](self).
pub struct MemcachedBackend {
    inner: CasBackend<Servers>,
}

impl MemcachedBackend {
    /// How long a decision may take unless said otherwise: 250 ms.
    pub const DEFAULT_TIMEOUT: Duration = CasBackend::<Servers>::DEFAULT_TIMEOUT;

    /// The largest limit that a `sliding_window` may have unless said otherwise: 8,000.
    pub const DEFAULT_MAX_LOG: u32 = 8_000;

    /// A backend on these servers: `host` or `host:port` each. The port is 11211 unless it is said.
    pub fn builder<I>(servers: I) -> MemcachedBuilder
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        MemcachedBuilder::new(servers.into_iter().map(Into::into).collect())
    }

    /// Connects to these servers with the default options, and [tries](MemcachedBuilder::connect) all that will be done with
    /// them.
    pub async fn connect<I>(servers: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self::builder(servers).connect().await
    }

    /// The same for a `main` that is not async.
    pub fn connect_blocking<I>(servers: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self::builder(servers).connect_blocking()
    }
}

impl fmt::Debug for MemcachedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.inner.store().all().map(|server| &server.address);
        f.debug_struct("MemcachedBackend")
            .field("servers", &servers.collect::<Vec<_>>())
            .field("inner", &self.inner)
            .finish()
    }
}

impl Backend for MemcachedBackend {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        self.inner.decide(checks, join)
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        self.inner.peek(checks)
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        self.inner.adjust(adjusts)
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.reset(checks)
    }

    /// All servers answer. It says the version of the last of them.
    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.inner.ping()
    }

    /// Nothing is to be done: a server removes by itself what is over.
    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        self.inner.sweep(sweep)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        self.inner.bridged()
    }
}
