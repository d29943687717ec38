//! [`DenialCache`]: a flood of denied calls is answered from this process's memory.
//!
//! - `denials`: what is remembered of one key, and when it is an answer.
//! - `epochs`: what makes denials void that were under way while their key was made fresh.
//! - `store`: all of them, their number bounded; `cached`: the backend; `stats`: what is counted.

mod cached;
mod denials;
mod epochs;
mod stats;
mod store;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{Backend, Clock, Error, ErrorKind, Layer, MonotonicClock};

use cached::Cached;
pub use stats::DenialStats;
use store::Store;

/// Remembers denials for their own `retry_after`, so that a flood of calls of a key that is denied
/// anyway does not reach the store.
///
/// A denied call charges nothing, and the same call is denied until its
/// [`retry_after`](ratelimit_core::Decision::retry_after) is over, whatever else is charged. That
/// answer can be given again without asking: [`Source::Cache`](ratelimit_core::Source::Cache) says
/// that it was, and its times are shorter by what has passed.
/// [`decide_now`](Backend::decide_now) answers from memory as well, without a task, a runtime or I/O.
///
/// # What is remembered
///
/// - The denial of a check that takes at least one unit and is decided by itself
///   ([`Join::Each`](ratelimit_core::Join::Each)), if the store itself gave it. What is admitted, what
///   failed, and what another layer, a lease or a fallback decided is not remembered.
/// - For the same policy, algorithm, limits, key, cost and longest delay, all compared in full; keys of
///   more than about 128 bytes by their SHA-256.
/// - From the moment at which the question was sent until its `retry_after` is over, so that it is
///   never late; at that very instant the store is asked again. At most for
///   [`max_age`](Self::max_age), by default [one second](Self::DEFAULT_MAX_AGE).
/// - At most [`max_entries`](Self::max_entries) denials, by default
///   [100,000](Self::DEFAULT_MAX_ENTRIES), of about 400 bytes each, and at most eight of one key. Where
///   there is no room, keys that are not asked for make room first.
///
/// # What may be late
///
/// - What *other* processes give back or reset is seen after `max_age` at the latest; so is a store's
///   clock that leaps forward, and a key that the store forgot.
/// - What *this* process gives back or resets through this backend, or the
///   [bridged](Backend::bridged) one, is seen at once: when the call returns, no denial is left of that
///   key, nor of a question that was under way. So is what it asks for under other limits.
/// - `retry_after`, `reset_after` and `remaining` do not know what other processes charged since. The
///   times can then be too short, and the store is asked when they are over. What this process charges
///   makes it ask again at once.
/// - `remaining` is at least what it was, and at most what it is: what was refilled since is counted
///   where the decision can tell.
/// - A [clock](Self::clock) that steps back keeps a denial for as long again as it stepped, but never
///   from before its question was sent: such a denial is dropped. The default clock does not step.
///
/// # Around which backend
///
/// Around one that does I/O; inside of it a [`Timeout`](super::Timeout), so that what is given up is not
/// waited for. A backend that answers [immediately](ratelimit_core::Capabilities::immediate) gains
/// nothing, and its `decide_now` is not learnt from.
///
/// Joined decisions ([`Join::All`](ratelimit_core::Join::All)) and `peek` always ask. In a batch, a
/// check behind another one of its key that has to be asked is asked as well, so that it sees what that
/// one charged.
///
/// # Errors
///
/// A `max_age` of zero or `max_entries` of zero is an error of the kind
/// [`Configuration`](ErrorKind::Configuration) when the layer is put around a backend.
///
/// ```
/// use std::sync::Arc;
/// use ratelimit_backends::layers::DenialCache;
/// use ratelimit_backends::memory::MemoryBackend;
/// use ratelimit_core::{Algorithm, Backend, Check, Join, KeyBuf, Layer, Policy, Source};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = DenialCache::new();
/// let stats = cache.stats();
/// // As if it were far away.
/// let backend = cache.layer(Arc::new(MemoryBackend::new()))?;
///
/// let policy = Policy::new("login", Algorithm::TokenBucket, "1/h".parse()?);
/// let key = KeyBuf::of("alice");
/// let checks = [Check::new(&policy, policy.limits(), key.as_ref())];
/// for source in [Source::Store, Source::Store, Source::Cache] {
///     let answers = backend.decide(&checks, Join::Each).await;
///     assert_eq!(answers[0].as_ref().unwrap().source(), source);
/// }
/// assert_eq!((stats.hits(), stats.misses(), stats.entries()), (1, 2, 1));
///
/// backend.reset(&checks).await?;
/// let answers = backend.decide(&checks, Join::Each).await;
/// assert!(answers[0].as_ref().unwrap().is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DenialCache {
    max_age: Duration,
    max_entries: usize,
    clock: Option<Arc<dyn Clock>>,
    stats: DenialStats,
}

impl DenialCache {
    /// How long a denial is remembered at most unless said otherwise: one second.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(1);

    /// How many denials are remembered at most unless said otherwise.
    pub const DEFAULT_MAX_ENTRIES: usize = 100_000;

    /// A layer with the default bounds and clock.
    pub fn new() -> Self {
        Self {
            max_age: Self::DEFAULT_MAX_AGE,
            max_entries: Self::DEFAULT_MAX_ENTRIES,
            clock: None,
            stats: DenialStats::default(),
        }
    }

    /// How long a denial is remembered at most: how late another process's refund or reset may be
    /// seen. Above zero.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// How many denials are remembered at most. Above zero.
    pub fn max_entries(mut self, max_entries: usize) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// The clock that says how old a denial is, if not this process's
    /// [monotonic](MonotonicClock) one. It need not agree with the store's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// What is counted: for metrics, to be read at any time.
    pub fn stats(&self) -> DenialStats {
        self.stats.clone()
    }
}

impl Default for DenialCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for DenialCache {
    fn layer(&self, inner: Arc<dyn Backend>) -> Result<Arc<dyn Backend>, Error> {
        let wrong = |message: &'static str| Error::new(ErrorKind::Configuration, message);
        if self.max_age.is_zero() {
            return Err(wrong(
                "a `max_age` of 0s remembers no denial; it has to be longer, such as the default of 1s",
            ));
        }
        if self.max_entries == 0 {
            return Err(wrong(
                "`max_entries` of 0 leaves no room for a denial; at least 1 is needed, and the default \
                 is 100000",
            ));
        }
        let clock = match &self.clock {
            Some(clock) => Arc::clone(clock),
            None => Arc::new(MonotonicClock::new()),
        };
        let store = Store::new(self.max_entries, self.max_age, clock, &self.stats)?;
        Ok(Arc::new(Cached::new(inner, store)))
    }
}

#[cfg(test)]
mod tests;
