//! [`RedisBackend`]: decides in Redis or Valkey, by one script call.
//!
//! - `keys`: what a key is called in the store.
//! - `wire`: what the scripts are told, and what they answer.
//! - `decide.lua`: the arithmetic, as the store does it; `exchange.lua`: compare and swap.
//! - `connection`: calls of scripts, and their errors.
//! - `engine`: a question; here are the backend's methods on top of it.

mod connection;
mod engine;
mod keys;
mod wire;

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Algorithm, AlgorithmSet, Answers, Backend, BoxFuture, Capabilities, Check, Clock,
    ClockKind, Error, ErrorKind, Join, JoinScope, Pong, Sweep, Swept,
};

use connection::Connection;

/// Decides in Redis (6.2 or later) or Valkey, standalone: every process that asks the same server shares
/// its budgets.
///
/// One decision is one call of a script, and so is a batch: of checks that are independent, or of all or none.
/// A call whose limits have changed since its key was last used, or that finds the server's clock stepped back, takes two trips
/// more, as do corrections: what is there is read, and replaced if nobody else changed it meanwhile. A call of a cost of zero takes
/// one trip, and all or none of a batch that is denied one more.
///
/// # Time
///
/// The server's clock decides, in microseconds; this process's does not matter. Rates that give more than a
/// unit in a microsecond are refused.
///
/// # What is stored
///
/// One value for each key, `PREFIX:{KEY}:POLICY:ALGORITHM`, in the [stored form](ratelimit_core::KeyState::encode) of its state, with
/// an expiry at the instant from which it equals a fresh key's. Keys are escaped, those of more than 96 bytes are known by their
/// SHA-256. A denial writes nothing, unless limits have changed or the clock stepped back. A `sliding_window` keeps 16 bytes for each call that it admitted within its period, which are
/// written anew with each: prefer `sliding_window_counter` for large limits.
///
/// A server that evicts keys (`maxmemory-policy`) or restarts without persistence forgets budgets: a forgotten key is a fresh one.
///
/// # Errors
///
/// [`close`](Backend::close) makes later questions fail; connections end when the backend is dropped.
///
/// Every answer comes within the [timeout](RedisBuilder::timeout), or is an error of the kind
/// [`Timeout`](ErrorKind::Timeout). A broken connection is made anew by the next call. `Refused` says that the server does not let
/// us (password, rights, a read-only replica, memory that is full).
///
/// ```no_run
/// use ratelimit_backends::redis::RedisBackend;
///
/// # async fn example() -> Result<(), ratelimit_core::Error> {
/// let backend = RedisBackend::connect("redis://127.0.0.1/").await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisBackend {
    capabilities: Capabilities,
    options: RedisBuilder,
    connection: Connection,
    /// For exchanges that were not fast enough: those of one process would only be in each other's way.
    exchanging: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl RedisBackend {
    /// How long a decision may take unless said otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(100);

    /// A backend on the server of this URL, `redis://[user:password@]host[:port][/database]`.
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder {
            url: url.into(),
            prefix: "ratelimit".into(),
            clock: None,
            timeout: Self::DEFAULT_TIMEOUT,
            max_log: Capabilities::DEFAULT_MAX_LOG,
        }
    }

    /// Connects with the default options, and asks the server whether it is there.
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("prefix", &self.options.prefix)
            .finish_non_exhaustive()
    }
}

/// Makes a [`RedisBackend`].
#[derive(Clone)]
pub struct RedisBuilder {
    url: String,
    prefix: String,
    clock: Option<Arc<dyn Clock>>,
    timeout: Duration,
    max_log: u32,
}

impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL can have a password.
        f.debug_struct("RedisBuilder")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl RedisBuilder {
    /// What the names of all keys start with; default `ratelimit`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// A clock for tests; unless one is given, the server's decides. Keys then are kept for an hour longer than
    /// they are live, as the server drops them by its own.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long a decision may take, connecting included; default 100 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest limit that a `sliding_window` may have; default 10,000.
    pub fn max_log(mut self, max_log: u32) -> Self {
        self.max_log = max_log;
        self
    }

    /// A backend that connects when it is first asked.
    pub fn lazy(self) -> Result<RedisBackend, Error> {
        let clock = match self.clock {
            Some(_) => (ClockKind::Injected, Duration::from_nanos(1)),
            None => (ClockKind::Server, Duration::from_micros(1)),
        };
        Ok(RedisBackend {
            capabilities: Capabilities::new(AlgorithmSet::ALL)
                .with_delay(AlgorithmSet::EMPTY.with(Algorithm::LeakyBucket))
                .with_refund(AlgorithmSet::ALL)
                .with_join(JoinScope::Any)
                .with_clock(clock.0, clock.1)
                .with_shared(true)
                .with_max_log(self.max_log),
            connection: Connection::new(&self.url, self.timeout)?,
            options: self,
            exchanging: tokio::sync::Mutex::new(()),
            closed: AtomicBool::new(false),
        })
    }

    /// Connects, and asks the server whether it is there.
    pub async fn connect(self) -> Result<RedisBackend, Error> {
        let backend = self.lazy()?;
        backend.ping().await?;
        Ok(backend)
    }
}

impl RedisBackend {
    fn is_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Closed,
                "the Redis backend was closed",
            ));
        }
        Ok(())
    }

    /// Within the time that a decision may take.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.is_open()?;
        let timeout = self.options.timeout;
        match tokio::time::timeout(timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("no answer within {timeout:?}"),
            )),
        }
    }
}

fn each<T>(checks: &[T], answers: Result<Answers, Error>) -> Answers {
    answers.unwrap_or_else(|error| checks.iter().map(|_| Err(error.clone())).collect())
}

impl Backend for RedisBackend {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move { each(checks, self.in_time(self.decide_batch(checks, join)).await) })
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move { each(checks, self.in_time(self.peek_batch(checks)).await) })
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move { each(adjusts, self.in_time(self.adjust_batch(adjusts)).await) })
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if checks.is_empty() {
                return self.is_open();
            }
            let names: Vec<_> = checks.iter().map(|check| self.name(check)).collect();
            self.in_time(self.connection.remove(&names)).await
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(async move { self.in_time(self.connection.ping()).await })
    }

    fn sweep(&self, _: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        // The server drops what has expired.
        Box::pin(async move { self.is_open().map(|()| Swept::new(0, 0)) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.closed.store(true, Ordering::Relaxed) })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let backend = self.options.clone().lazy().ok()?;
        Some(Arc::new(backend))
    }
}
