//! [`CasBuilder`]: the options of a [`CasBackend`].

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ratelimit_core::{
    Algorithm, AlgorithmSet, Capabilities, Clock, ClockKind, Error, JoinScope, SystemClock,
};

use super::CasBackend;
use super::ask::{Client, LONGEST};
use super::store::CasStore;
use crate::batcher::{Batcher, Bounds};
use crate::checks::{lasts, prefix, some};
use crate::names::SHORTEST;
use crate::within::prepare;

/// Makes a [`CasBackend`].
#[derive(Clone)]
pub struct CasBuilder<S> {
    store: S,
    options: Options,
}

/// Everything but the store.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) prefix: String,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) in_flight: usize,
    pub(crate) max_batch: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_log: u32,
    pub(crate) shared: bool,
    pub(crate) forgets: bool,
}

/// Questions of one caller in one call.
const LARGEST: usize = 512;

/// The longest prefix that leaves room for a name.
pub(crate) const LONGEST_PREFIX: usize = LONGEST - SHORTEST;

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "ratelimit".into(),
            clock: None,
            timeout: super::DEFAULT_TIMEOUT,
            retries: 64,
            in_flight: 8,
            max_batch: 128,
            max_waiting: 16_384,
            max_log: Capabilities::DEFAULT_MAX_LOG,
            shared: true,
            forgets: false,
        }
    }
}

impl<S: CasStore> CasBuilder<S> {
    pub(super) fn new(store: S) -> Self {
        Self::of(store, Options::default())
    }

    pub(crate) fn of(store: S, options: Options) -> Self {
        Self { store, options }
    }

    /// What the names of all keys start with; default `ratelimit`. Programs that share a store and must not share budgets have
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

    /// How long a decision may take, tries and waiting for others included; default 250 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How often a key is tried again that others have changed between our load and our swap; default 64. The first time at
    /// once, then after a pause that is random and grows, up to 5 ms. When this was in vain, nothing is charged, and the error
    /// is of the kind [`Overloaded`](ratelimit_core::ErrorKind::Overloaded).
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// How many merged calls may be under way at once, one or more, in each [part](CasStore::part) of the store; default 8.
    /// Each has its own keys, so that callers of this process are not in each other's way.
    pub fn in_flight(mut self, calls: usize) -> Self {
        self.options.in_flight = calls;
        self
    }

    /// How many checks of different callers are merged into one call at most, one or more; default 128. With 1 nothing is
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

    /// The largest limit that a `sliding_window` may have; default 10,000. Its log takes 16 bytes for each unit, for each rate.
    pub fn max_log(mut self, max_log: u32) -> Self {
        self.options.max_log = max_log;
        self
    }

    /// Whether other processes see the same budgets; default `true`. It changes only what the capabilities say.
    pub fn shared(mut self, shared: bool) -> Self {
        self.options.shared = shared;
        self
    }

    /// Whether the store can forget a key before its time is over; default `false`. It changes only what the capabilities
    /// say.
    pub fn forgets(mut self, forgets: bool) -> Self {
        self.options.forgets = forgets;
        self
    }

    /// The backend. The store is not asked for anything yet; what is wrong with the options is said as
    /// [`Configuration`](ratelimit_core::ErrorKind::Configuration).
    pub fn build(self) -> Result<CasBackend<S>, Error> {
        let Self { store, options } = self;
        options.check()?;
        prepare()?;
        let client = Client {
            store,
            capabilities: options.capabilities(),
            prefix: options.prefix.clone(),
            injected: options.clock.is_some(),
            clock: options
                .clock
                .clone()
                .unwrap_or_else(|| Arc::new(SystemClock)),
            timeout: options.timeout,
            retries: options.retries,
            calls: u64::try_from(options.in_flight).unwrap_or(u64::MAX),
            spread: foldhash::fast::RandomState::default(),
        };
        let bounds = Bounds {
            // More would let callers of one key overtake each other.
            in_flight: 1,
            merged: options.max_batch,
            largest: LARGEST,
            waiting: options.max_waiting,
        };
        Ok(CasBackend {
            batcher: Batcher::new(client, bounds),
            options,
            closed: AtomicBool::new(false),
        })
    }
}

impl Options {
    fn capabilities(&self) -> Capabilities {
        let clock = match self.clock {
            Some(_) => ClockKind::Injected,
            None => ClockKind::Process,
        };
        Capabilities::new(AlgorithmSet::ALL)
            .with_delay(AlgorithmSet::EMPTY.with(Algorithm::LeakyBucket))
            .with_refund(AlgorithmSet::ALL)
            .with_join(JoinScope::OneKey)
            .with_clock(clock, Duration::from_nanos(1))
            .with_shared(self.shared)
            .with_forgets(self.forgets)
            .with_max_log(self.max_log)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        lasts("timeout", self.timeout)?;
        some("in_flight", self.in_flight)?;
        some("max_batch", self.max_batch)?;
        some("max_waiting", self.max_waiting)?;
        prefix(&self.prefix, LONGEST_PREFIX)
    }
}

impl<S> fmt::Debug for CasBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CasBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
