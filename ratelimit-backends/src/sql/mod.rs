//! [`SqlBackend`]: decides in PostgreSQL, MySQL, MariaDB or SQLite, through `sqlx`.
//!
//! - `builder`: the options; `target`: the database as the user names it; `welcome`: what is asked of it at start-up.
//! - `connections`: ways to the database; `errors`: what is made of its failures.
//! - `row`: what a row says; `statement`, `dialect`: the statement that decides, written once for both databases that have one; `admitted`: what it decided, worked out again from what it says of a row; `hex`: bytes as text; `postgres`, `mysql`,
//!   `sqlite`: what each of them does in its own way; `store`: any of them.
//! - `ask`: many questions in one statement; `engine`: a caller's questions; `sweep`: what becomes of keys that are over; here are the backend's methods on top of it.

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod admitted;
mod ask;
mod builder;
mod connections;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod dialect;
mod engine;
mod errors;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod hex;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    allow(dead_code, reason = "a file is asked for states alone")
)]
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod statement;
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    allow(
        dead_code,
        clippy::unused_async,
        reason = "a file is asked for states alone"
    )
)]
mod store;
mod sweep;
mod target;
mod welcome;

use core::fmt;
use core::pin::{Pin, pin};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use ratelimit_core::{
    Adjust, Answers, Backend, BoxFuture, Capabilities, Check, Error, Join, Pong, Sweep, Swept,
};

use crate::batcher::Batcher;
use crate::options::each;
use crate::within::within;
use ask::Client;
use sweep::Rounds;

pub use builder::SqlBuilder;
pub use target::Database;

/// Decides in PostgreSQL (12 or later), MySQL (8.0.19) or MariaDB (10.6), or in a file of SQLite: every process that has the same
/// one shares its budgets, and they survive a restart.
///
/// ```no_run
/// use ratelimit_backends::sql::SqlBackend;
///
/// # async fn example() -> Result<(), ratelimit_core::Error> {
/// let backend = SqlBackend::connect("postgres://user:password@localhost/service").await?;
/// # Ok(())
/// # }
/// ```
///
/// # One decision
///
/// is one statement, or several that are one transaction and one trip. Checks that come while others are under way are merged into one more,
/// of up to 128; nothing waits to be merged while the database is idle. A batch is decided at once as well.
///
/// | | how | why it is exact |
/// |---|---|---|
/// | PostgreSQL | one statement, an `INSERT … ON CONFLICT DO UPDATE` over lists: locks each row, reads `clock_timestamp()` then, decides, writes; in the order of the names | under `READ COMMITTED`, the default, a row that is waited for is changed as the one before left it, and one that denies is read behind its lock; under a stricter default a conflict is an error, and asked again. What others add at the same time as a call is denied cannot be read yet, and is asked for again |
/// | MySQL, MariaDB | one trip: a transaction under `READ COMMITTED` that adds rows that are missing, which locks all of them in order, reads `UTC_TIMESTAMP(6)`, reads, decides by `UPDATE`s with conditions, commits | the rows stay locked from before the clock is read until they are written |
/// | SQLite | `BEGIN IMMEDIATE`, a read, a write, `COMMIT`, in this process; as many checks as wait are one transaction | there is one writer at a time, whichever process it is in; the clock is read when the right to write is had |
///
/// A transaction, which reads, decides here and writes, takes two to five trips. It is what decides a `sliding_window`, checks that are
/// [all or nothing](Join::All), corrections, a key whose limits have changed since it was last used, and one that finds that the server's
/// clock stepped back.
///
/// Locks are taken in the order of the names, so that decisions do not wait for each other in a circle. A deadlock with somebody else, and
/// a transaction that cannot be put into an order, are tried again, up to 24 times.
///
/// # Time
///
/// The server's clock decides, in microseconds; with SQLite it is this machine's, which all processes that have the file share.
///
/// # What is stored
///
/// One table, which [`connect`](Self::connect) makes unless it is [told not to](SqlBuilder::migrate) ([`schema`](SqlBuilder::schema) says how it
/// is made by hand); several processes may do so at once. Its first row says which version it has. Keys are escaped, and known by
/// their SHA-256 where they are long. A row has the states of up to four rates in columns; a `sliding_window`, and what else does not fit, is bytes.
/// `expires` says from when on, in nanoseconds since 1970, a row counts no more. In PostgreSQL, `t` and `n` say when calls were last let in, and how many
/// in its lower 32 bits. Nothing is written on a denial, except that MySQL adds a row for
/// a key that has none. Rows that are over are removed [every hour](SqlBuilder::sweep_every), or by [`sweep`](Backend::sweep), page by page.
///
/// # What a power cut takes
///
/// Whoever waits for the disk loses nothing; a limiter can often afford to forget its last moments. Measured on two cores, with
/// 10,000 keys, a server on the same machine and a virtual disk: decisions a second with one task and with 64 (see `benchmarks/stores`).
///
/// | setting | lost | 1 task | 64 tasks |
/// |---|---|---:|---:|
/// | PostgreSQL, `synchronous_commit = on` | nothing | 1,500 | 27,600 |
/// | PostgreSQL, `synchronous_commit = off` (`?options=-csynchronous_commit%3Doff`) | up to three `wal_writer_delay`s, 0.6 s by default; nothing when only PostgreSQL dies | 2,200 | 35,500 |
/// | PostgreSQL, `ALTER TABLE ratelimit SET UNLOGGED` | all of it, also when only PostgreSQL dies; not on replicas | 3,300 | 45,400 |
/// | MariaDB, `innodb_flush_log_at_trx_commit = 1` | nothing | 1,200 | 24,200 |
/// | MariaDB, `= 2` | the last second; nothing when only MariaDB dies | 1,700 | 26,300 |
/// | MariaDB, `= 0` | the last second | 2,000 | 25,700 |
/// | SQLite, a rollback journal, `synchronous = FULL` | nothing | 800 | 15,400 |
/// | SQLite, WAL, `synchronous = FULL` | nothing | 1,600 | 24,400 |
/// | SQLite, WAL, `synchronous = NORMAL`: what is set here | what came after the last checkpoint; nothing when only the process dies | 2,000 | 29,400 |
/// | SQLite, WAL, `synchronous = OFF` | the file may be damaged | 4,200 | 33,100 |
///
/// A failover to a replica that had not heard of everything forgets that as well.
///
/// # When it fails
///
/// Every answer comes within the [timeout](SqlBuilder::timeout), or is an error of the kind
/// [`Timeout`](ratelimit_core::ErrorKind::Timeout); what was asked may have been charged then. `Refused` says that the database does not let us
/// (password, rights, one that only reads, a disk that is full), `Configuration` that there is no table or that it has another version. What may have been
/// decided is never asked again. Statements end by themselves on the server as well (`statement_timeout`; locks are waited for no longer than a second in MySQL),
/// on connections of our own.
///
/// A connection that breaks is made anew by the next call; attempts that fail are repeated at [growing distances](SqlBuilder::back_off), and calls in between
/// fail at once.
///
/// # Where it runs
///
/// Connections belong to the tokio runtime on which they were made. Callers that block have connections of their own: also those of a pool that was
/// given, with its options.
///
/// Those of a pool are used as it made them: no timeout is set on them, a file of SQLite should be in WAL mode and have one connection, and PostgreSQL thinks
/// about each statement anew unless it is told not to (`plan_cache_mode`).
pub struct SqlBackend {
    batcher: Batcher<Client>,
    builder: SqlBuilder,
    rounds: Arc<Rounds>,
}

impl SqlBackend {
    /// How long a decision may take unless said otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);

    /// A backend on the database of this URL: `postgres://user:password@host/database`, `mysql://user:password@host/database`
    /// (MariaDB as well), or `sqlite://path/of/the/file`, each if the feature of that name is on.
    pub fn builder(url: impl Into<String>) -> SqlBuilder {
        SqlBuilder::new(target::Target::Url(url.into()))
    }

    /// A backend that borrows connections from a pool.
    #[cfg(feature = "postgres")]
    pub fn with_postgres(pool: sqlx::PgPool) -> SqlBuilder {
        SqlBuilder::new(target::Target::Postgres(pool))
    }

    /// A backend that borrows connections from a pool.
    #[cfg(feature = "mysql")]
    pub fn with_mysql(pool: sqlx::MySqlPool) -> SqlBuilder {
        SqlBuilder::new(target::Target::MySql(pool))
    }

    /// A backend that borrows connections from a pool.
    #[cfg(feature = "sqlite")]
    pub fn with_sqlite(pool: sqlx::SqlitePool) -> SqlBuilder {
        SqlBuilder::new(target::Target::Sqlite(pool))
    }

    /// Connects to the database of this URL with the default options, makes the table if it is missing, and
    /// [tries](SqlBuilder::connect) all that will be done with it.
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// The same for a `main` that is not async.
    pub fn connect_blocking(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect_blocking()
    }

    fn client(&self) -> &Client {
        self.batcher.asks()
    }

    /// Within the time that a decision may take.
    async fn in_time<F: Future>(&self, work: Pin<&mut F>) -> Result<F::Output, Error> {
        self.client().store.is_open()?;
        within(self.builder.options.timeout, work).await
    }
}

impl fmt::Debug for SqlBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlBackend")
            .field("builder", &self.builder)
            .field("batcher", &self.batcher)
            .finish_non_exhaustive()
    }
}

impl Backend for SqlBackend {
    fn capabilities(&self) -> &Capabilities {
        &self.client().capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let decided = self.in_time(pin!(self.decide_batch(checks, join))).await;
            self.rounds.pass(&self.client().store);
            each(checks, decided.flatten())
        })
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let peeked = self.in_time(pin!(self.peek_batch(checks))).await;
            each(checks, peeked.flatten())
        })
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let adjusted = self.in_time(pin!(self.adjust_batch(adjusts))).await;
            each(adjusts, adjusted.flatten())
        })
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.in_time(pin!(self.remove(checks))).await? })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(async move {
            let started = Instant::now();
            let version = self.in_time(pin!(self.client().store.version())).await??;
            Ok(Pong::new(started.elapsed()).with_version(version))
        })
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(async move {
            self.client().store.is_open()?;
            sweep::sweep(&self.client().store, sweep).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.client().store.close().await })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let backend = self.builder.bridged().lazy().ok()?;
        // The table is the same one.
        let rounds = Arc::clone(&self.rounds);
        Some(Arc::new(Self { rounds, ..backend }))
    }
}
