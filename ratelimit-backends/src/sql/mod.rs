//! [`SqlBackend`]: decides in PostgreSQL, MySQL, MariaDB or SQLite, through `sqlx`.
//!
//! - `builder`: the options; `target`: the database as the user names it; `welcome`: what is asked of it at start-up.
//! - `connections`: ways to the database; `errors`: what is made of its failures.
//! - `row`: what a row says; `statement`, `dialect`: the statement that decides, written once for both databases that have one; `hex`: bytes as text; `postgres`, `mysql`,
//!   `sqlite`: what each of them does in its own way; `store`: any of them.
//! - `ask`: many questions in one statement; `engine`: a caller's questions; `sweep`: what becomes of keys that are over; here are the backend's methods on top of it.

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

/// Decides in a SQL database: every process that asks the same one shares its budgets, and they survive a restart.
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
