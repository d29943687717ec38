//! [`RedisBuilder`]: the options of a [`RedisBackend`].

use core::fmt;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{Algorithm, AlgorithmSet, Capabilities, Clock, ClockKind, Error, JoinScope};

use super::RedisBackend;
use super::ask::Client;
use super::link::{Link, LinkOptions, Topology};
use super::scripts::Scripts;
use super::target::{Access, Target};
use super::welcome;
use crate::apart::apart;
use crate::batcher::Batcher;
use crate::checks::wrong;
use crate::options::Options;
use crate::within::{prepare, within};

/// Makes a [`RedisBackend`].
///
/// | option | default | what more or longer costs |
/// |---|---|---|
/// | [`timeout`](Self::timeout) | 100 ms | a dead server holds each call up for as long |
/// | [`connect_timeout`](Self::connect_timeout) | 1 s | nothing but start-up; calls are bounded by their timeout |
/// | [`connections`](Self::connections) | 1 | a socket and a task each; the server has one thread for all |
/// | [`in_flight`](Self::in_flight) | 4 | smaller batches under load |
/// | [`max_batch`](Self::max_batch) | 64 | a call holds the server up for about 6 µs a check |
/// | [`max_waiting`](Self::max_waiting) | 16,384 | about 300 bytes each, when the server is slow |
/// | [`back_off`](Self::back_off) | 10 ms to 1 s | a server that is back is noticed as much later |
/// | [`keep_alive`](Self::keep_alive) | 30 s | a peer that is gone is noticed as much later, while nothing is asked |
#[derive(Clone)]
pub struct RedisBuilder {
    target: Target,
    access: Access,
    pub(super) prefix: String,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) options: Options,
}

/// Checks of one caller in one script call.
const LARGEST: usize = 512;

/// No pool needs more connections to a server that has one thread for all of them.
const MAX_CONNECTIONS: usize = 64;

impl RedisBuilder {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            access: Access {
                username: None,
                password: None,
                database: None,
                keep_alive: Duration::from_secs(30),
                #[cfg(feature = "redis-tls")]
                certificates: None,
            },
            prefix: "ratelimit".into(),
            clock: None,
            options: Options {
                timeout: RedisBackend::DEFAULT_TIMEOUT,
                connect_timeout: Duration::from_secs(1),
                back_off: (Duration::from_millis(10), Duration::from_secs(1)),
                connections: 1,
                in_flight: 4,
                max_batch: 64,
                max_waiting: 16_384,
                max_log: Capabilities::DEFAULT_MAX_LOG,
            },
        }
    }

    /// What the names of all keys start with; default `ratelimit`. Programs that share a server and must not
    /// share budgets have different ones.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The ACL user, instead of the one in the URLs; default the server's default user. With Sentinels,
    /// the master's.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.access.username = Some(username.into());
        self
    }

    /// The password, instead of the one in the URLs. With Sentinels, the master's.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.access.password = Some(password.into());
        self
    }

    /// The number of the database, instead of the one in the URL; default 0, which is all that a cluster has.
    pub fn database(mut self, database: u32) -> Self {
        self.access.database = Some(database.into());
        self
    }

    /// The authority that the server's certificate is checked with, instead of the system's, and the certificate
    /// that the server asks for, if it does.
    #[cfg(feature = "redis-tls")]
    pub fn certificates(mut self, certificates: redis::TlsCertificates) -> Self {
        self.access.certificates = Some(certificates);
        self
    }

    /// A clock for tests; unless one is given, the server's decides. Keys then are kept for an hour longer than
    /// they are live, as the server drops them by its own.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long a decision may take, connecting and waiting for others included; default 100 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How long it may take to connect; default 1 s. Calls that need the connection meanwhile are given up when
    /// their own [timeout](Self::timeout) is over, but the attempt goes on.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long no attempt to connect is made after one that failed: the first of these times, twice as long after
    /// each more, up to the second; default 10 ms to 1 s. Of each, a random part between a half and all of it is
    /// waited, so that not all processes come back at the same instant. Calls fail at once meanwhile. A connection
    /// that worked and broke is made anew without waiting.
    pub fn back_off(mut self, shortest: Duration, longest: Duration) -> Self {
        self.options.back_off = (shortest, longest);
        self
    }

    /// After how long without traffic the kernel asks whether the server is still there; default 30 s, zero for
    /// never. It notices a peer that is gone while nothing is asked; what is asked has its
    /// [timeout](Self::timeout).
    pub fn keep_alive(mut self, idle: Duration) -> Self {
        self.access.keep_alive = idle;
        self
    }

    /// How many connections there are to a server, 1 to 64; default 1, which all callers share. More are of use where one
    /// task that reads and writes cannot keep up.
    pub fn connections(mut self, connections: usize) -> Self {
        self.options.connections = connections;
        self
    }

    /// How many merged calls may be under way at once, one or more; default 4. Fewer make larger batches under
    /// load, one at a time waits for the network in between. In a cluster, of each slot.
    pub fn in_flight(mut self, calls: usize) -> Self {
        self.options.in_flight = calls;
        self
    }

    /// How many checks of different callers are merged into one call at most, one or more; default 64. With 1
    /// nothing is merged.
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

    /// The largest limit that a `sliding_window` may have; default 10,000.
    pub fn max_log(mut self, max_log: u32) -> Self {
        self.options.max_log = max_log;
        self
    }

    /// A backend that connects when it is first asked. What is wrong with the options is said at once, as
    /// [`Configuration`](ratelimit_core::ErrorKind::Configuration).
    pub fn lazy(self) -> Result<RedisBackend, Error> {
        self.check()?;
        prepare()?;
        let topology = self.target.topology(&self.access)?;
        let clock = match self.clock {
            Some(_) => (ClockKind::Injected, Duration::from_nanos(1)),
            None => (ClockKind::Server, Duration::from_micros(1)),
        };
        let join = if let Topology::Cluster(_) = topology {
            JoinScope::SameSlot
        } else {
            JoinScope::Any
        };
        let options = LinkOptions {
            connections: self.options.connections,
            timeout: self.options.timeout,
            connect_timeout: self.options.connect_timeout,
            back_off: self.options.back_off,
            outstanding: self.options.max_waiting,
        };
        let client = Client {
            link: Link::new(topology.clone(), options),
            scripts: Scripts::new(),
            clock: self.clock.clone(),
            timeout: self.options.timeout,
        };
        Ok(RedisBackend {
            capabilities: Capabilities::new(AlgorithmSet::ALL)
                .with_delay(AlgorithmSet::EMPTY.with(Algorithm::LeakyBucket))
                .with_refund(AlgorithmSet::ALL)
                .with_join(join)
                .with_clock(clock.0, clock.1)
                .with_shared(true)
                .with_max_log(self.options.max_log),
            batcher: Batcher::new(client, self.options.bounds(LARGEST)),
            topology,
            builder: self,
            exchanging: tokio::sync::Mutex::new(()),
        })
    }

    /// Connects, and asks the server for all that it will be asked for. What is wrong is said as
    ///
    /// - [`Connection`](ratelimit_core::ErrorKind::Connection) or [`Timeout`](ratelimit_core::ErrorKind::Timeout): it is not there, or does
    ///   not answer;
    /// - [`Refused`](ratelimit_core::ErrorKind::Refused): wrong password, rights that are missing, a replica, memory that is full;
    /// - [`Unsupported`](ratelimit_core::ErrorKind::Unsupported): its version is too old;
    /// - [`Configuration`](ratelimit_core::ErrorKind::Configuration): it is of another kind, a node of a cluster for instance, or
    ///   the options are wrong;
    /// - [`Protocol`](ratelimit_core::ErrorKind::Protocol): it is no Redis.
    ///
    /// It has the [`connect_timeout`](Self::connect_timeout) and ten [timeouts](Self::timeout).
    pub async fn connect(self) -> Result<RedisBackend, Error> {
        let bound = self.options.start_up();
        let backend = self.lazy()?;
        let checked = async {
            let prefix = &backend.builder.prefix;
            welcome::check(backend.client(), &backend.topology, prefix).await
        };
        within(bound, pin!(checked)).await??;
        Ok(backend)
    }

    /// The same for a `main` that is not async. The check is made on a thread and a connection of its own, and
    /// this thread waits for it.
    pub fn connect_blocking(self) -> Result<RedisBackend, Error> {
        let checked = self.clone();
        apart(async move { checked.connect().await.map(drop) })?;
        self.lazy()
    }

    fn check(&self) -> Result<(), Error> {
        self.options.check()?;
        if self.options.connections > MAX_CONNECTIONS {
            let found = self.options.connections;
            return Err(wrong(format!(
                "connections is {found}, and can be {MAX_CONNECTIONS} at most"
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is left out can have a password.
        f.debug_struct("RedisBuilder")
            .field("target", &self.target)
            .field("prefix", &self.prefix)
            .field("timeout", &self.options.timeout)
            .finish_non_exhaustive()
    }
}
