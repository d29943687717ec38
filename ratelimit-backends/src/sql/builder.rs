//! [`SqlBuilder`]: the options of a [`SqlBackend`].

use core::fmt;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{Algorithm, AlgorithmSet, Capabilities, Clock, ClockKind, Error, JoinScope};

use super::SqlBackend;
use super::ask::Client;
use super::connections;
use super::store::Table;
use super::sweep::Rounds;
use super::target::{Database, Target};
use super::welcome;
use crate::apart::apart;
use crate::batcher::Batcher;
use crate::checks::{self, wrong};
use crate::options::Options;
use crate::within::{prepare, within};

/// Makes a [`SqlBackend`].
#[derive(Clone)]
pub struct SqlBuilder {
    target: Target,
    pub(super) prefix: String,
    table: String,
    migrate: bool,
    sweep_every: Option<Duration>,
    clock: Option<Arc<dyn Clock>>,
    pub(super) options: Options,
}

/// Checks of one caller in one statement.
const LARGEST: usize = 512;

/// A table is read as a whole in each.
const SHORTEST_ROUND: Duration = Duration::from_secs(1);

/// The longest prefix that leaves room for a name.
const LONGEST_PREFIX: usize = 95;

/// The longest name that every database takes.
const LONGEST_TABLE: usize = 63;

impl SqlBuilder {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            prefix: "ratelimit".into(),
            table: "ratelimit".into(),
            migrate: true,
            sweep_every: Some(Duration::from_hours(1)),
            clock: None,
            options: Options {
                timeout: SqlBackend::DEFAULT_TIMEOUT,
                connect_timeout: Duration::from_secs(2),
                back_off: (Duration::from_millis(10), Duration::from_secs(1)),
                connections: 8,
                in_flight: 2,
                max_batch: 128,
                max_waiting: 16_384,
                max_log: Capabilities::DEFAULT_MAX_LOG,
            },
        }
    }

    /// What the names of all keys start with; default `ratelimit`. Programs that share a table and must not share budgets have
    /// different ones. Up to 95 letters, digits and `_ - . : @`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The table, `schema.table` where there are schemas; default `ratelimit`. Letters, digits and `_`.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Whether [`connect`](Self::connect) makes the table if it is missing; default `true`. [`schema`](Self::schema) says how it
    /// is made by hand.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// How often rows of keys that are over are removed in the background; default every hour, `None` for never. Each
    /// process does it for itself, beginning at a random time, while it decides anything. Correctness does not depend on it: what is over
    /// counts no more. It reads the table page by page and removes a page's rows in a statement of their own, as
    /// [`sweep`](ratelimit_core::Backend::sweep) does; no lock is held between pages.
    pub fn sweep_every(mut self, period: impl Into<Option<Duration>>) -> Self {
        self.sweep_every = period.into();
        self
    }

    /// A clock for tests; unless one is given, the server's decides.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long a decision may take, connecting and waiting for others included; default 250 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How long it may take to connect; default 2 s. Calls that need the connection meanwhile are given up when their own
    /// [timeout](Self::timeout) is over, but the attempt goes on.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long no attempt to connect is made after one that failed: the first of these times, twice as long after each more, up
    /// to the second; default 10 ms to 1 s. Calls fail at once meanwhile.
    pub fn back_off(mut self, shortest: Duration, longest: Duration) -> Self {
        self.options.back_off = (shortest, longest);
        self
    }

    /// How many connections are used at once, one or more; default 8. SQLite has one writer, and uses one.
    pub fn connections(mut self, connections: usize) -> Self {
        self.options.connections = connections;
        self
    }

    /// How many merged statements may be under way at once, one or more; default 2.
    pub fn in_flight(mut self, statements: usize) -> Self {
        self.options.in_flight = statements;
        self
    }

    /// How many checks of different callers are merged into one statement at most, one or more; default 128. With 1
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

    /// The statements that make the table, for those who make their tables themselves.
    pub fn schema(&self) -> Result<String, Error> {
        self.check()?;
        Ok(self.target.database()?.schema(&self.table))
    }

    /// The same backend with connections of its own.
    pub(super) fn bridged(&self) -> Self {
        Self {
            target: self.target.bridged(),
            ..self.clone()
        }
    }

    /// A backend that connects when it is first asked, and counts on the table. What is wrong with the options is said at once, as
    /// [`Configuration`](ratelimit_core::ErrorKind::Configuration).
    pub fn lazy(self) -> Result<SqlBackend, Error> {
        self.check()?;
        prepare()?;
        let bounds = connections::Bounds {
            connections: self.options.connections,
            timeout: self.options.timeout,
            connect_timeout: self.options.connect_timeout,
            back_off: self.options.back_off,
        };
        let table = Table {
            name: self.table.clone(),
            clock: self.clock.clone(),
        };
        let client = Client {
            store: Arc::new(self.target.store(bounds, table)?),
            capabilities: self.capabilities(self.target.database()?),
            prefix: self.prefix.clone(),
            timeout: self.options.timeout,
            injected: self.clock.is_some(),
        };
        Ok(SqlBackend {
            batcher: Batcher::new(client, self.options.bounds(LARGEST)),
            rounds: Arc::new(Rounds::new(self.sweep_every)),
            builder: self,
        })
    }

    fn capabilities(&self, database: Database) -> Capabilities {
        let clock = match (&self.clock, database) {
            (Some(_), _) => (ClockKind::Injected, Duration::from_nanos(1)),
            #[cfg(feature = "sqlite")]
            (None, Database::Sqlite) => (ClockKind::Process, Duration::from_nanos(1)),
            #[allow(unreachable_patterns)] // without the other databases
            (None, _) => (ClockKind::Server, Duration::from_micros(1)),
        };
        Capabilities::new(AlgorithmSet::ALL)
            .with_delay(AlgorithmSet::EMPTY.with(Algorithm::LeakyBucket))
            .with_refund(AlgorithmSet::ALL)
            .with_join(JoinScope::Any)
            .with_clock(clock.0, clock.1)
            .with_shared(true)
            .with_max_log(self.options.max_log)
    }

    /// Connects, makes the table if it is missing, and tries all that will be done with it. What is wrong is said as
    ///
    /// - [`Connection`](ratelimit_core::ErrorKind::Connection) or [`Timeout`](ratelimit_core::ErrorKind::Timeout): it is not there, or does not answer;
    /// - [`Refused`](ratelimit_core::ErrorKind::Refused): wrong password, rights that are missing, a replica, a disk that is full;
    /// - [`Configuration`](ratelimit_core::ErrorKind::Configuration): no table, one of another version, or the options are wrong.
    pub async fn connect(self) -> Result<SqlBackend, Error> {
        let bound = self.options.start_up();
        let backend = self.lazy()?;
        let checked = welcome::check(backend.client(), backend.builder.migrate);
        within(bound, pin!(checked)).await??;
        Ok(backend)
    }

    /// The same for a `main` that is not async. The check is made on a thread and a connection of its own, and
    /// this thread waits for it.
    pub fn connect_blocking(self) -> Result<SqlBackend, Error> {
        let checked = self.bridged();
        apart(async move {
            let backend = checked.connect().await?;
            ratelimit_core::Backend::close(&backend).await;
            Ok(())
        })?;
        self.lazy()
    }

    fn check(&self) -> Result<(), Error> {
        self.options.check()?;
        if self.sweep_every.is_some_and(|it| it < SHORTEST_ROUND) {
            return Err(wrong(format!(
                "a sweep every {:?} is more than can be done: {SHORTEST_ROUND:?} is the shortest, and `None` is never",
                self.sweep_every.unwrap_or_default()
            )));
        }
        checks::prefix(&self.prefix, LONGEST_PREFIX)?;
        let part = |part: &str| {
            let first = part.bytes().next();
            first.is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
                && part.len() <= LONGEST_TABLE
                && part
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'_')
        };
        if self.table.split('.').count() > 2 || !self.table.split('.').all(part) {
            let found = &self.table;
            return Err(wrong(format!(
                "the table is {found:?}, and has to be letters, digits and `_`, with a schema and a dot before it at most"
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for SqlBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlBuilder")
            .field("target", &self.target)
            .field("table", &self.table)
            .field("prefix", &self.prefix)
            .field("timeout", &self.options.timeout)
            .finish_non_exhaustive()
    }
}
