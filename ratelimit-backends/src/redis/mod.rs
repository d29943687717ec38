//! [`RedisBackend`]: decides in Redis or Valkey, by one script call.
//!
//! - `builder`: the options; `target`: the servers as the user names them; `welcome`: what is asked of
//!   them at start-up.
//! - `link`: the way to the server that decides: connections, and the nodes of a cluster; `errors`: what is made of
//!   their failures.
//! - `slots`: where a key is in a cluster; `wire`: what the scripts are told; `answer`: what they say.
//! - `scripts`: how they are called. `decide.lua`: the arithmetic, as the store does it; `bucket.lua`: the most
//!   usual part of it, faster; `refund.lua`: corrections; `exchange.lua`: compare and swap.
//! - `ask`: many questions in one call; `engine`: a caller's questions; `refund`: its corrections; here are the
//!   backend's methods on top of it.

mod answer;
mod ask;
mod builder;
mod engine;
mod errors;
mod link;
mod refund;
mod scripts;
mod secrets;
mod slots;
mod target;
mod welcome;
mod wire;

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
use link::Topology;
use target::Target;
use welcome::Hello;

pub use builder::RedisBuilder;

/// Decides in Redis (6.2 or later) or Valkey: every process that asks the same servers shares their budgets.
///
/// ```no_run
/// use ratelimit_backends::redis::RedisBackend;
///
/// # async fn example() -> Result<(), ratelimit_core::Error> {
/// let backend = RedisBackend::connect("redis://127.0.0.1/").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Which servers
///
/// | servers | made by | what it costs |
/// |---|---|---|
/// | one | [`builder`](Self::builder) | while it is down, nothing is decided |
/// | a master and replicas behind Sentinels | [`sentinel`](Self::sentinel) | a failover takes seconds, and forgets what the replica had not been told: some calls are admitted again |
/// | a cluster | [`cluster`](Self::cluster) | as with Sentinels; checks of different keys are separate calls, which go to their nodes at the same time; and checks that are one decision have to be of one key |
///
/// One server decides more than a hundred thousand calls a second: a cluster is for those who have one already, or
/// need more. Each can also be made of a configured client of the [`redis`] crate.
///
/// # One decision
///
/// is one call of a script, which reads, decides and writes without anybody in between. Checks that come while calls
/// are under way are merged into one more: a call decides up to 64 at the price of a few. Nothing waits to be merged
/// while the server is idle. A batch is one call as well (of each slot, in a cluster; for each 512 checks), and so are
/// corrections, which are not merged with those of other callers.
///
/// What cannot be decided by one call takes two more: a key whose limits have changed since it was last used, and one
/// that finds that the server's clock stepped back: what is there is read, and replaced if nobody else changed it
/// meanwhile.
///
/// # All or nothing
///
/// Checks that are one decision are one call. In a cluster they have to be of one slot: several policies of one key are;
/// others are refused, as [`Unsupported`](ratelimit_core::ErrorKind::Unsupported), before anything is charged. While a
/// slot moves to another node, checks of several of its keys may be refused for a time (`TRYAGAIN`).
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
/// Numbers are exact: instants and spans are stored and compared as seconds, nanoseconds and fractions of one, each of
/// which fits the 53 bits of Lua's numbers; what is multiplied is multiplied here.
///
/// A server that evicts keys (`maxmemory-policy`) or restarts without persistence forgets budgets: a forgotten key is a fresh one.
///
/// # When it fails
///
/// Every answer comes within the [timeout](RedisBuilder::timeout), or is an error of the kind
/// [`Timeout`](ratelimit_core::ErrorKind::Timeout); what was asked may have been charged then. `Refused` says that the server does
/// not let us (password, rights, a read-only replica, memory that is full). What may have been decided is never asked again.
///
/// A broken connection is made anew by the next call, one that does not answer twice in a row as well; attempts that fail are
/// repeated at [growing distances](RedisBuilder::back_off), and calls in between fail at once. A master that has become a
/// replica is left, and looked for again.
///
/// [`close`](Backend::close) lets go of the connections: what is under way still ends, later questions fail.
///
/// # Where it runs
///
/// Connections belong to the tokio runtime on which they were made, by the first call or by
/// [`connect`](Self::connect). If that shuts down, the next call makes another. Callers that block have connections of their own.
pub struct RedisBackend {
    capabilities: Capabilities,
    batcher: Batcher<Client>,
    topology: Topology,
    builder: RedisBuilder,
    /// For exchanges that were not fast enough: those of one process would only be in each other's way.
    exchanging: tokio::sync::Mutex<()>,
}

impl RedisBackend {
    /// How long a decision may take unless said otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(100);

    /// A backend on the server of this URL: `redis://[user:password@]host[:port][/database]`, the same with `rediss://` for TLS
    /// (feature `redis-tls`), or `redis+unix:///path/of/the/socket[?db=database][&user=user][&pass=password]`.
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(Target::Url(url.into()))
    }

    /// A backend on the master that these Sentinels know by the name of a service; the URLs are theirs, with the name and
    /// password that they want. The master's are [`username`](RedisBuilder::username), [`password`](RedisBuilder::password) and
    /// [`database`](RedisBuilder::database); it is spoken to with TLS if the Sentinels are.
    pub fn sentinel<U: Into<String>>(
        urls: impl IntoIterator<Item = U>,
        service: impl Into<String>,
    ) -> RedisBuilder {
        RedisBuilder::new(Target::Sentinels {
            urls: urls.into_iter().map(Into::into).collect(),
            service: service.into(),
        })
    }

    /// A backend on the cluster that these nodes belong to. The others are found by asking them; several are named for the case
    /// that one is down.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> RedisBuilder {
        RedisBuilder::new(Target::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    /// A backend on the server of a configured client.
    pub fn with_client(client: redis::Client) -> RedisBuilder {
        RedisBuilder::new(Target::Client(client))
    }

    /// A backend on the master that a configured client finds through Sentinels. Such a client serves one at a time, so it is
    /// made anew for each attempt to connect; `make` is told how many attempts have failed before.
    pub fn with_sentinel_client(
        make: impl Fn(usize) -> redis::RedisResult<redis::sentinel::SentinelClient>
        + Send
        + Sync
        + 'static,
    ) -> RedisBuilder {
        RedisBuilder::new(Target::SentinelClients(Arc::new(make)))
    }

    /// A backend on the cluster that the servers of these configured clients are nodes of. The other nodes are reached as
    /// these are.
    pub fn with_cluster_clients(clients: impl IntoIterator<Item = redis::Client>) -> RedisBuilder {
        RedisBuilder::new(Target::ClusterClients(clients.into_iter().collect()))
    }

    /// Connects to the server of this URL with the default options, and [asks it](RedisBuilder::connect) for all that it will be
    /// asked for.
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
        self.client().link.is_open()?;
        within(self.builder.options.timeout, work).await
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("topology", &self.topology)
            .field("prefix", &self.builder.prefix)
            .field("batcher", &self.batcher)
            .finish_non_exhaustive()
    }
}

impl Backend for RedisBackend {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let decided = self.in_time(pin!(self.decide_batch(checks, join))).await;
            each(checks, decided.flatten())
        })
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move { each(checks, self.in_time(pin!(self.peek_batch(checks))).await) })
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            each(
                adjusts,
                self.in_time(pin!(self.adjust_batch(adjusts))).await,
            )
        })
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.in_time(pin!(self.remove(checks))).await? })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(async move {
            let started = Instant::now();
            let hellos = self.in_time(pin!(Hello::of(self.client()))).await??;
            let pong = Pong::new(started.elapsed());
            // The oldest is what can be counted on.
            let oldest = hellos.into_iter().min_by_key(Hello::version);
            Ok(match oldest.map(|hello| hello.version) {
                Some(version) if !version.is_empty() => pong.with_version(version),
                _ => pong,
            })
        })
    }

    fn sweep(&self, _: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        // The server drops what has expired.
        Box::pin(async move { self.client().link.is_open().map(|()| Swept::new(0, 0)) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.client().link.close() })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let backend = self.builder.clone().lazy().ok()?;
        Some(Arc::new(backend))
    }
}
