//! [`MongoBuilder`]: the options of a [`MongoBackend`].

use core::fmt;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use mongodb::options::{Acknowledgment, WriteConcern};
use ratelimit_core::{Algorithm, AlgorithmSet, Capabilities, Clock, ClockKind, Error, JoinScope};

use super::MongoBackend;
use super::ask::Client;
use super::link::Link;
use super::store::Store;
use super::target::{self, Target};
use super::template::Templates;
use super::welcome;
use crate::apart::apart;
use crate::batcher::{Batcher, Bounds};
use crate::checks::{self, wrong};
use crate::options::Options;
use crate::within::{prepare, within};

/// When a write counts as done. What each costs, and what it can forget, is [told](MongoBackend#durability) where the
/// backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// When the primary has it in memory: `w: 1, j: false`.
    Primary,
    /// When the primary has it in its journal: `w: 1, j: true`.
    Journal,
    /// When most nodes of the replica set have it in their journals: `w: "majority"`.
    Majority,
}

/// Makes a [`MongoBackend`].
#[derive(Clone)]
pub struct MongoBuilder {
    target: Target,
    database: Option<String>,
    collection: String,
    pub(super) prefix: String,
    create_index: bool,
    durability: Option<Durability>,
    clock: Option<Arc<dyn Clock>>,
    connections: Option<usize>,
    pub(super) options: Options,
}

/// Checks of one caller in one command.
const LARGEST: usize = 512;

/// Eight such logs, of 16 bytes for each unit, and what a document has besides are below the 16 MB that it can have.
const LARGEST_LOG: u32 = 100_000;

/// The longest prefix that leaves room for a name.
const LONGEST_PREFIX: usize = 95;

/// The longest name of a collection, and of a database.
const LONGEST_NAME: usize = 63;

impl MongoBuilder {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            database: None,
            collection: "ratelimit".into(),
            prefix: "ratelimit".into(),
            create_index: true,
            durability: None,
            clock: None,
            connections: None,
            options: Options {
                timeout: MongoBackend::DEFAULT_TIMEOUT,
                connect_timeout: Duration::from_secs(2),
                // The driver looks after its servers by itself.
                back_off: (Duration::ZERO, Duration::ZERO),
                connections: 8,
                in_flight: 2,
                max_batch: 128,
                max_waiting: 16_384,
                max_log: Capabilities::DEFAULT_MAX_LOG,
            },
        }
    }

    /// The database; default that of the URL, else `ratelimit`. Up to 63 letters, digits, `_` and `-`.
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// The collection; default `ratelimit`. Up to 63 letters, digits and `_ - .`.
    pub fn collection(mut self, collection: impl Into<String>) -> Self {
        self.collection = collection.into();
        self
    }

    /// What the names of all keys start with; default `ratelimit`. Programs that share a collection and must not share budgets
    /// have different ones. Up to 95 letters, digits and `_ - . : @`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Whether [`connect`](Self::connect) makes the index by which the server removes what is over, and the collection with it;
    /// default `true`. Who has not the right to makes an index on `expires` with `expireAfterSeconds: 0` by hand: without one,
    /// [`sweep`](ratelimit_core::Backend::sweep) alone removes anything.
    pub fn create_index(mut self, create_index: bool) -> Self {
        self.create_index = create_index;
        self
    }

    /// When a decision counts as written; default what the URL or the client says, else [`Primary`](Durability::Primary).
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// A clock for tests; unless one is given, the server's decides.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long a decision may take, connecting, finding the server that writes and waiting for others included; default
    /// 250 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How long it may take to connect; default 2 s. Calls that need the connection meanwhile are given up when their own
    /// [timeout](Self::timeout) is over. A client that was given has its own.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How many connections to each server are used at once, one or more; default what the URL says, else 8. A client that was
    /// given has its own.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = Some(connections);
        self
    }

    /// How many calls that decide may be under way at once, one or more; default 2. Keys are divided among as many lanes.
    pub fn in_flight(mut self, calls: usize) -> Self {
        self.options.in_flight = calls;
        self
    }

    /// How many checks of different callers are merged at most, one or more; default 128. With 1 nothing is merged.
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

    /// The largest limit that a `sliding_window` may have; default 10,000, and 100,000 at most: the logs of as many rates as a key
    /// can have fit into a document.
    pub fn max_log(mut self, max_log: u32) -> Self {
        self.options.max_log = max_log;
        self
    }

    /// A backend that connects when it is first asked, and counts on the index. What is wrong with the options is said at once,
    /// as [`Configuration`](ratelimit_core::ErrorKind::Configuration).
    pub fn lazy(self) -> Result<MongoBackend, Error> {
        let database = self.check()?;
        prepare()?;
        let store = Store {
            link: Link::new(self.target.source(self.bounds())?, database),
            collection: self.collection.clone(),
            concern: self.concern()?,
            clock: self.clock.clone(),
        };
        let client = Client {
            store,
            capabilities: self.capabilities(),
            prefix: self.prefix.clone(),
            timeout: self.options.timeout,
            lanes: u64::try_from(self.options.in_flight).unwrap_or(1),
            hasher: foldhash::fast::RandomState::default(),
            templates: Templates::default(),
            exchanging: tokio::sync::Mutex::new(()),
        };
        let bounds = Bounds {
            in_flight: 1,
            ..self.options.bounds(LARGEST)
        };
        Ok(MongoBackend {
            batcher: Batcher::new(client, bounds),
            options: self,
        })
    }

    fn bounds(&self) -> target::Bounds {
        target::Bounds {
            connections: (
                self.connections.map(narrow),
                narrow(self.options.connections),
            ),
            timeout: self.options.timeout,
            connect_timeout: self.options.connect_timeout,
        }
    }

    /// The same backend with connections of its own, if they can be made.
    pub(super) fn bridged(&self) -> Option<Self> {
        (!self.target.is_given()).then(|| self.clone())
    }

    fn capabilities(&self) -> Capabilities {
        let (clock, resolution) = match &self.clock {
            Some(_) => (ClockKind::Injected, Duration::from_nanos(1)),
            None => (ClockKind::Server, Duration::from_millis(1)),
        };
        Capabilities::new(AlgorithmSet::ALL)
            .with_delay(AlgorithmSet::EMPTY.with(Algorithm::LeakyBucket))
            .with_refund(AlgorithmSet::ALL)
            .with_join(JoinScope::Any)
            .with_clock(clock, resolution)
            .with_shared(true)
            .with_max_log(self.options.max_log)
    }

    fn concern(&self) -> Result<WriteConcern, Error> {
        let given = self.target.write_concern()?.unwrap_or_default();
        let says_when = given.w.is_some() || given.journal.is_some();
        let (w, journal) = match self.durability {
            None if given.w == Some(Acknowledgment::Nodes(0)) => {
                let message = "a write concern of `w=0` leaves no answer that could be a decision";
                return Err(wrong(message));
            }
            None if says_when => return Ok(given),
            None | Some(Durability::Primary) => (Acknowledgment::Nodes(1), false),
            Some(Durability::Journal) => (Acknowledgment::Nodes(1), true),
            Some(Durability::Majority) => (Acknowledgment::Majority, true),
        };
        let mut concern = WriteConcern::default();
        concern.w = Some(w);
        concern.journal = Some(journal);
        concern.w_timeout = given.w_timeout;
        Ok(concern)
    }

    /// Connects, makes the index if it is to be made, and tries all that will be done. What is wrong is said as
    ///
    /// - [`Connection`](ratelimit_core::ErrorKind::Connection) or [`Timeout`](ratelimit_core::ErrorKind::Timeout): it is not there, or does not answer;
    /// - [`Refused`](ratelimit_core::ErrorKind::Refused): wrong password, rights that are missing, a secondary;
    /// - [`Configuration`](ratelimit_core::ErrorKind::Configuration): another index on the same field, a collection that will not do (a view,
    ///   one that is capped, one with a collation), or the options are wrong;
    /// - [`Unsupported`](ratelimit_core::ErrorKind::Unsupported): the server is older than 4.4.
    pub async fn connect(self) -> Result<MongoBackend, Error> {
        let patience = self.options.connect_timeout;
        let bound = self.options.start_up();
        let create_index = self.create_index;
        let backend = self.lazy()?;
        let checked = welcome::check(&backend, create_index, patience);
        let checked = within(bound, pin!(checked)).await;
        if let Err(error) = checked.flatten() {
            ratelimit_core::Backend::close(&backend).await;
            return Err(error);
        }
        Ok(backend)
    }

    /// The same for a `main` that is not async. The check is made on a thread and connections of its own, and this thread waits
    /// for it. A client that was given is not checked: its connections may be those of this thread.
    pub fn connect_blocking(self) -> Result<MongoBackend, Error> {
        if let Some(checked) = self.bridged() {
            apart(async move {
                let backend = checked.connect().await?;
                ratelimit_core::Backend::close(&backend).await;
                Ok(())
            })?;
        }
        self.lazy()
    }

    /// The database.
    fn check(&self) -> Result<String, Error> {
        self.options.check()?;
        checks::some("connections", self.connections.unwrap_or(1))?;
        if self.options.max_log > LARGEST_LOG {
            return Err(wrong(format!(
                "max_log is {}, and can be up to {LARGEST_LOG}: a document holds 16 MB",
                self.options.max_log
            )));
        }
        checks::prefix(&self.prefix, LONGEST_PREFIX)?;
        let are = |text: &str, others: &[u8], longest: usize| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
            text.len() <= longest && text.bytes().all(allowed)
        };
        let found = &self.collection;
        let is_own = !found.is_empty() && !found.starts_with(['.', '-']) && !found.ends_with('.');
        if !is_own || found.starts_with("system.") || !are(found, b"_-.", LONGEST_NAME) {
            return Err(wrong(format!(
                "the collection is {found:?}, and has to be up to {LONGEST_NAME} letters, digits and `_ - .`"
            )));
        }
        let named = self.target.database()?;
        let database = self.database.clone().or(named);
        let database = database.unwrap_or_else(|| "ratelimit".to_owned());
        if database.is_empty() || !are(&database, b"_-", LONGEST_NAME) {
            return Err(wrong(format!(
                "the database is {database:?}, and has to be up to {LONGEST_NAME} letters, digits, `_` and `-`"
            )));
        }
        Ok(database)
    }
}

fn narrow(connections: usize) -> u32 {
    u32::try_from(connections).unwrap_or(u32::MAX)
}

impl fmt::Debug for MongoBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoBuilder")
            .field("target", &self.target)
            .field("database", &self.database)
            .field("collection", &self.collection)
            .field("prefix", &self.prefix)
            .field("timeout", &self.options.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concern(url: &str, durability: Option<Durability>) -> Result<String, Error> {
        let mut builder = MongoBackend::builder(url);
        builder.durability = durability;
        let concern = builder.concern()?;
        Ok(format!(
            "{:?} {:?} {:?}",
            concern.w, concern.journal, concern.w_timeout
        ))
    }

    #[test]
    fn how_durable_is_said_by_the_builder_else_by_the_url() {
        let wait = "Some(300ms)";
        for (url, durability, expected) in [
            (
                "mongodb://a/",
                None,
                "Some(Nodes(1)) Some(false) None".to_owned(),
            ),
            (
                "mongodb://a/?w=2",
                None,
                "Some(Nodes(2)) None None".to_owned(),
            ),
            (
                "mongodb://a/?journal=true",
                None,
                "None Some(true) None".to_owned(),
            ),
            (
                "mongodb://a/?wtimeoutMS=300",
                None,
                format!("Some(Nodes(1)) Some(false) {wait}"),
            ),
            (
                "mongodb://a/?w=2&wtimeoutMS=300",
                Some(Durability::Majority),
                format!("Some(Majority) Some(true) {wait}"),
            ),
            (
                "mongodb://a/?w=0",
                Some(Durability::Journal),
                "Some(Nodes(1)) Some(true) None".to_owned(),
            ),
        ] {
            assert_eq!(concern(url, durability).unwrap(), expected, "{url}");
        }
        let error = concern("mongodb://a/?w=0", None).unwrap_err();
        assert!(error.message().contains("w=0"), "{error:?}");
    }

    #[tokio::test]
    async fn how_many_connections_is_said_by_the_builder_else_by_the_url() {
        for (url, said, expected) in [
            ("mongodb://a/", None, 8),
            ("mongodb://a/?maxPoolSize=3", None, 3),
            ("mongodb://a/?maxPoolSize=3", Some(20), 20),
            ("mongodb://a/", Some(2), 2),
        ] {
            let mut builder = MongoBackend::builder(url);
            builder.connections = said;
            let source = builder.target.source(builder.bounds()).unwrap();
            let options = source.options().await.unwrap();
            assert_eq!(options.max_pool_size, Some(expected), "{url} {said:?}");
        }
    }
}
