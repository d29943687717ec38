//! [`MemoryBackend`]: decides in this process's memory.
//!
//! - `crate::hash`: what a key is known by.
//! - `line`: four slots in a cache line, and their lock; `lines`: all of them; `table`: how a key finds
//!   its own two, and how room is made in them.
//! - `packings`, `unpacked`: how states are kept in words, and those that are not.
//! - `states`: all of these together: the state of a key, by slot.
//! - `reclaim`: how keys are forgotten that equal fresh ones.
//! - `overflow`: what holds the keys that find no room.
//! - `locked`: the lines of some keys, locked; `session`: what is asked and changed under these locks.
//! - `engine`, `batch`: a question, several as one; the backend's methods on top of them are here.
//! - `limiter`: one policy with everything worked out once, for the shortest way.
//! - `time`: where `now` comes from; `sync`: the atomics.
//! - `models`: lines under a model checker; `tests`: the promises below.

mod batch;
mod engine;
mod limiter;
mod line;
mod lines;
mod locked;
mod overflow;
mod packings;
mod reclaim;
mod session;
mod states;
mod sync;
mod table;
mod time;
mod unpacked;

use core::fmt;
use core::future::ready;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, AlgorithmSet, Answers, Backend, BoxFuture, Capabilities, Check, Clock, ClockKind,
    Decision, Error, Join, JoinScope, Pong, Sweep, Swept,
};

use engine::Engine;
pub use limiter::MemoryLimiter;

/// Decides in this process's memory: every algorithm, exactly, under any number of threads,
/// without I/O, background threads or waiting for anything but a short lock.
///
/// The state of one rate fits sixteen bytes together with the key's fingerprint, four to a cache
/// line. It is read without a lock and replaced under the line's own; a denial of such a key
/// writes nothing. Logs (`sliding_window`) and policies of several rates are kept beside the table,
/// and decided under the line's lock.
///
/// # Time
///
/// Unless a [clock](MemoryBuilder::clock) is given, time is the processor's time stamp counter (the
/// system's monotonic clock where there is none that counts evenly), anchored to the system's time
/// once. It never steps back, and does not follow the system's corrections.
///
/// # Bounded memory
///
/// At most [`max_keys`](MemoryBuilder::max_keys) keys are kept (default
/// [one million](Self::DEFAULT_MAX_KEYS)), whatever clients send: a key is kept as a fingerprint, so
/// its length does not matter. Room for all of them is asked of the operating system at once (about
/// 29 MB for the default), which gives memory for it as keys come, where it works that way; where it
/// refuses, fewer keys are kept. The table grows by splitting one of its segments at a time, and keeps
/// the memory that it once had. A `sliding_window` keeps 16 to 32 bytes more for each call
/// that it admitted within its period, at most [`max_log`](MemoryBuilder::max_log) of them a key:
/// the calls that a server can take bound it, not the number of keys.
///
/// - A key whose state equals that of a fresh key is dropped first, in passing; nothing is lost.
/// - A key that is still live is never dropped, so that no flood of new keys frees one that is
///   being denied.
/// - When every kept key is live, new keys share one overflow bucket per policy, and that is
///   logged, at most once a minute for each policy. A key that finds room again starts with what
///   the overflow bucket has used, so that it is never admitted more than its limit. There are at
///   most 1,024 such buckets; new keys of further policies are an error of the kind `Overloaded`.
///   [`reset`](Backend::reset) makes a key fresh that has a place of its own, not such a bucket,
///   which is not the key's alone. Expired keys are looked for a thousand lines at a time, so that
///   new keys of a full, large backend can share for some calls although one has expired.
///
/// # Odds of a shared fingerprint
///
/// A key is known by 64 bits: 56 in its slot, the rest by where the slot is. With ten million keys,
/// the odds that any two of them are taken for each other are about 1 in 200,000. The seeds are
/// random for each backend: keys that collide cannot be computed.
///
/// ```
/// use ratelimit_backends::memory::MemoryBackend;
/// use ratelimit_core::{Algorithm, Backend, Check, KeyBuf, Policy};
///
/// let backend = MemoryBackend::new();
/// let policy = Policy::new("login", Algorithm::FixedWindow, "1/h".parse()?);
/// let key = KeyBuf::of("alice");
/// let check = Check::new(&policy, policy.limits(), key.as_ref());
/// assert!(backend.decide_now(&check).unwrap()?.is_allowed());
/// assert!(!backend.decide_now(&check).unwrap()?.is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryBackend {
    capabilities: Capabilities,
    engine: Engine,
}

impl MemoryBackend {
    /// How many keys are kept unless said otherwise.
    pub const DEFAULT_MAX_KEYS: usize = 1_000_000;

    /// The most keys that any backend can be told to keep: more than 570 million.
    pub const MOST_KEYS: usize = table::MOST_KEYS;

    /// A backend with the default bounds and clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A backend whose bounds or clock differ.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }

    /// How many keys are kept now, live or not yet dropped.
    pub fn keys(&self) -> usize {
        self.engine.states.kept()
    }

    /// The most keys that are kept.
    pub fn max_keys(&self) -> usize {
        self.engine.states.max_keys()
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("keys", &self.keys())
            .field("max_keys", &self.max_keys())
            .finish_non_exhaustive()
    }
}

/// Makes a [`MemoryBackend`] whose bounds or clock differ from the defaults.
///
/// ```
/// use ratelimit_backends::memory::MemoryBackend;
/// use ratelimit_core::ManualClock;
///
/// let clock = ManualClock::new();
/// let backend = MemoryBackend::builder().clock(clock.clone()).max_keys(10_000).build();
/// assert_eq!(backend.keys(), 0);
/// ```
#[derive(Debug)]
pub struct MemoryBuilder {
    clock: Option<Arc<dyn Clock>>,
    max_keys: usize,
    max_log: u32,
}

impl Default for MemoryBuilder {
    fn default() -> Self {
        Self {
            clock: None,
            max_keys: MemoryBackend::DEFAULT_MAX_KEYS,
            max_log: Capabilities::DEFAULT_MAX_LOG,
        }
    }
}

impl MemoryBuilder {
    /// The clock that decides, if not [this process's own](MemoryBackend#time). A clock is trusted: one
    /// that leaps forward makes every budget fresh.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The most keys that are kept; zero is taken for one, and more than
    /// [`MemoryBackend::MOST_KEYS`] for that.
    pub fn max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys.clamp(1, MemoryBackend::MOST_KEYS);
        self
    }

    /// The largest limit that a `sliding_window` may have; it keeps an entry for each admitted
    /// call. Default 10,000.
    pub fn max_log(mut self, max_log: u32) -> Self {
        self.max_log = max_log;
        self
    }

    /// The backend.
    pub fn build(self) -> MemoryBackend {
        let kind = if self.clock.is_some() {
            ClockKind::Injected
        } else {
            ClockKind::Process
        };
        let delayed = AlgorithmSet::EMPTY.with(ratelimit_core::Algorithm::LeakyBucket);
        MemoryBackend {
            capabilities: Capabilities::new(AlgorithmSet::ALL)
                .with_delay(delayed)
                .with_refund(AlgorithmSet::ALL)
                .with_join(JoinScope::Any)
                .with_clock(kind, Duration::from_nanos(1))
                .with_immediate(true)
                .with_max_log(self.max_log),
            engine: Engine::new(self.clock, self.max_keys, self.max_log),
        }
    }
}

impl Backend for MemoryBackend {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            match join {
                Join::Each => checks
                    .iter()
                    .map(|check| self.engine.decide(check))
                    .collect(),
                Join::All => self.engine.decide_all(checks),
            }
        })
    }

    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        Some(self.engine.decide(check))
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move { checks.iter().map(|check| self.engine.peek(check)).collect() })
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            adjusts
                .iter()
                .map(|adjust| self.engine.adjust(adjust))
                .collect()
        })
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { checks.iter().try_for_each(|check| self.engine.reset(check)) })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        let pong = Pong::new(Duration::ZERO).with_keys(self.keys() as u64);
        Box::pin(ready(self.engine.is_open().map(|()| pong)))
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(async move { self.engine.sweep(sweep) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.engine.close() })
    }
}

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;
