//! [`MongoBackend`]: decides in MongoDB.
//!
//! - `builder`: the options; `target`: the servers as the user names them; `welcome`: what is asked of them at start-up.
//! - `link`: the way to them; `errors`: what is made of their failures.
//! - `document`: what is stored of a key; `store`: the commands that are given to the collection.
//! - `pipeline`, `template`: the arithmetic as the server does it, written once for all checks that are alike; `exchange`: what is read, worked out here, and replaced.
//! - `ask`: one question by a pipeline, many together by exchange; `engine`: a caller's questions; here are the backend's methods on
//!   top of it.

mod ask;
mod builder;
mod document;
mod engine;
mod errors;
mod exchange;
mod link;
mod pipeline;
mod store;
mod target;
mod template;
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

pub use builder::{Durability, MongoBuilder};

/// Decides in MongoDB (4.4 or later): every process that asks the same servers shares their budgets.
///
/// ```no_run
/// use ratelimit_backends::mongodb::MongoBackend;
///
/// # async fn example() -> Result<(), ratelimit_core::Error> {
/// let backend = MongoBackend::connect("mongodb://127.0.0.1/service").await?;
/// # Ok(())
/// # }
/// ```
///
/// # One decision
///
/// is one `findAndModify`, whose update is a pipeline: the server reads the document of the key, decides and writes it, and
/// nobody comes in between, as it changes one document at a time. It answers with the time and with what was there before, of
/// which the shared arithmetic works out what is left; a pipeline that decided otherwise is an error, not an answer. A denial
/// writes nothing.
///
/// | what | commands |
/// |---|---|
/// | a decision | 1 |
/// | a decision on a `sliding_window` | 1 if it is denied, 2 if not |
/// | a batch, and what is merged while calls are under way | 1 if all are denied, else 2, whatever is in it |
/// | the first decision after the limits of a key have changed in their periods, or its clock stepped back | 2 |
/// | corrections | 2, merged with those of other callers |
/// | several keys that are one decision | 1 if they are denied, else a transaction: 3 |
///
/// What takes two is read, worked out here, and replaced if nobody else has changed it since: each write gives a document a version
/// that nobody had before, and a write that finds another version than was read does nothing, and is tried again, from reading on.
/// So batches are as exact as single decisions. Checks of one key are asked by one call at a time of this
/// process; processes that use the same key at the same time cost each other repetitions, of which there are 64 at most.
///
/// Several keys as one decision need a replica set (one of a single node will do) or a sharded cluster; where there are
/// no transactions they are refused, as [`Unsupported`](ratelimit_core::ErrorKind::Unsupported).
/// A process that dies in the midst of a transaction leaves its keys locked until the server gives it up
/// (`transactionLifetimeLimitSeconds`, a minute unless it was changed): until then, who asks for one of them has no answer in time.
///
/// # Time
///
/// The clock of the server that writes decides (`$$NOW`), in milliseconds; this process's does not matter. Rates that give
/// more than a unit in a millisecond are refused at start-up; the others are as exact as everywhere, as what is stored are
/// nanoseconds and fractions of one. After a failover it is another server's clock: where that is behind, what was
/// admitted counts for longer, by the difference at most.
///
/// A command reads the clock when it begins. Of two that come at the same time, the one that read it first may write
/// last; it takes the other's time then, if that is a second later at most. More is a clock that stepped back.
///
/// # Durability
///
/// [`MongoBuilder::durability`] says when a decision counts as written. A decision that is lost is admitted once more, at most.
///
/// | | what can be forgotten | what it costs |
/// |---|---|---|
/// | [`Primary`](Durability::Primary), the default | a failover forgets what no secondary had been told, a primary that loses its power about the last 100 ms (its journal) | nothing |
/// | [`Journal`](Durability::Journal) | a failover, the same | a decision waits for the disk |
/// | [`Majority`](Durability::Majority) | nothing that was answered | a decision waits for the disks of most nodes, and for the way there |
///
/// Measured on two cores, with 10,000 keys, and one node on the same machine and a virtual disk: decisions a second with one task and
/// with 64 (see `benchmarks/stores`).
///
/// | | 1 task | 64 tasks |
/// |---|---:|---:|
/// | `Primary` | 1,700 | 12,000 |
/// | `Journal` | 630 | 8,300 |
/// | `Majority`, of one | 630 | 8,500 |
///
/// What the URL, or a client, says of its write concern holds where nothing else is said; `w=0` is refused, as it has no answer.
///
/// The write concern waits behind the decision: when it is not met in time, the answer is an error of the kind
/// [`Timeout`](ratelimit_core::ErrorKind::Timeout), and what was asked may have been charged.
///
/// # What is stored
///
/// One document for each key, its `_id` being `PREFIX:{KEY}:POLICY:ALGORITHM`. Keys are escaped, those of more than 96
/// bytes are known by their SHA-256. The state is a few integers of 64 bits, which are added and compared, never divided; a
/// `sliding_window` has 16 bytes for each call that it admitted within its period, which are sent and written anew
/// with each: prefer `sliding_window_counter` for large limits.
///
/// Every document has an end, `expires`, and an index by which the server removes what is over, once a minute. That is garbage
/// collection alone: what is over equals a fresh key whether it is still there or not. So that the index need not change
/// with each decision, a key stays for up to a minute longer. [`sweep`](Backend::sweep) does the same by hand.
///
/// The rights that are needed are those of the role `readWrite` on the database.
///
/// # When it fails
///
/// Every answer comes within the [timeout](MongoBuilder::timeout), waiting for a server that writes included, or is an error of the
/// kind [`Timeout`](ratelimit_core::ErrorKind::Timeout); what was asked may have been charged then. `Refused` says that the server
/// does not let us. What was surely not done is asked again: the server was not the one that writes, or somebody else
/// added the key (`E11000`). What may have been done never is: the driver's own repetition of writes is not used, as it
/// would cost the server a second write for each.
///
/// [`close`](Backend::close) ends the connections of this runtime; those of a client that was given stay.
///
/// # Where it runs
///
/// The driver's connections belong to the tokio runtime on which they were made: there is a client for each runtime that
/// asks. Callers that block have one of their own.
pub struct MongoBackend {
    batcher: Batcher<Client>,
    options: MongoBuilder,
}

impl MongoBackend {
    /// How long a decision may take unless said otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);

    /// A backend on the servers of this URL: `mongodb://[user:password@]host[:port][,host…][/database][?options]`, or the same
    /// with `mongodb+srv://` (feature `mongodb-srv`).
    pub fn builder(url: impl Into<String>) -> MongoBuilder {
        MongoBuilder::new(target::Target::Url(url.into()))
    }

    /// A backend on the servers that these options name.
    pub fn with_options(options: mongodb::options::ClientOptions) -> MongoBuilder {
        MongoBuilder::new(target::Target::Options(Box::new(options)))
    }

    /// A backend that uses a client of the driver. Its connections make progress on the runtime on which it was made: callers
    /// that block are answered only while that runs elsewhere. ([`with_options`](Self::with_options) has no such bound.)
    pub fn with_client(client: mongodb::Client) -> MongoBuilder {
        MongoBuilder::new(target::Target::Client(client))
    }

    /// Connects to the servers of this URL with the default options, makes the index if it is missing, and
    /// [tries](MongoBuilder::connect) all that will be done.
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
        self.client().store.link.is_open()?;
        within(self.options.options.timeout, work).await
    }
}

impl fmt::Debug for MongoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoBackend")
            .field("options", &self.options)
            .field("batcher", &self.batcher)
            .finish()
    }
}

impl Backend for MongoBackend {
    fn capabilities(&self) -> &Capabilities {
        &self.client().capabilities
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
            let adjusted = self.in_time(pin!(self.adjust_batch(adjusts))).await;
            each(adjusts, adjusted)
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
        Box::pin(async move { self.sweep_all(sweep.dry_run, sweep.batch).await })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let link = &self.client().store.link;
            link.close(self.options.options.timeout).await;
        })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let backend = self.options.bridged()?.lazy().ok()?;
        Some(Arc::new(backend))
    }
}
