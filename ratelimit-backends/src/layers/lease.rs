//! [`Lease`]: a shared budget is spent from this process's memory.
//!
//! - `slice`: units that the store has charged, and how long they may be spent; `account`: those of one
//!   key; `accounts`: of all of them, their number bounded.
//! - `demand`: how large a slice should be; `ladder`: how to take as much as there is.
//! - `refills`: takes slices, for those who wait and for those who come; `keeper`: gives back in time;
//!   `returns`: what is on its way back.
//! - `leased`: the backend; `order`: the checks of a key come one after the other; `shared`: what its
//!   connections have in common; `stats`: what is counted.

mod account;
mod accounts;
mod demand;
mod keeper;
mod ladder;
mod leased;
mod order;
mod refills;
mod returns;
mod shared;
mod slice;
mod stats;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Algorithm, AlgorithmSet, Backend, Clock, Error, ErrorKind, Layer, MonotonicClock,
};

use accounts::Accounts;
use leased::Leased;
use shared::Shared;
use slice::Term;
pub use stats::LeaseStats;

use crate::within::prepare;

/// Takes slices of a shared budget and spends them from this process's memory: a key that is asked for
/// thousands of times a second costs its store a few trips.
///
/// A slice is charged in the store like any call, by one decision of as many units. Until it is spent, or
/// over, calls are decided here: [`Source::Lease`](ratelimit_core::Source::Lease) says so, and
/// [`decide_now`](Backend::decide_now) answers without a task, a runtime or I/O. Everybody spends from
/// the same slices, those included who come through the [bridged](Backend::bridged) backend.
///
/// # What may be leased, and what is admitted at most
///
/// | algorithm | however many processes lease |
/// |---|---|
/// | `fixed_window` | at most the limit in every window: a slice dies with its window |
/// | `token_bucket`, `gcra` | in any interval at most burst + rate × (its length + [`life`](Self::life)): a slice is spent within its life after it was charged |
///
/// The others promise what slices cannot keep: that calls are spaced, or that no interval of a period
/// sees more than the limit. They are no part of the layer's
/// [capabilities](ratelimit_core::Capabilities::algorithms), so that a policy that names one is a fault at
/// start-up. So are algorithms for which the backend cannot give a charge back.
///
/// A window is over when the store's clock says so. Should that clock leap forward, what a process holds
/// can still be spent until its life is over.
///
/// # What may be stranded
///
/// What one process holds, others cannot spend. Of each key that is at most
/// [`max_share`](Self::max_share) of the capacity (the smallest limit or burst of the policy), for at most
/// `life`; then it is given back. So a process may be denied what another one holds. What it holds itself
/// is given back before a call is denied because of it; not so for a joined decision, or a call under other
/// limits than those under which it is held. The last units of a window can be lost, if they were held
/// when it ended. A process that ends without [closing](Backend::close) its backends strands what it holds
/// until the store has refilled it, or the window is over.
///
/// # How large a slice is
///
/// A quarter of what was asked for in a life, within the share. At half of it more is fetched, in the
/// background and by one request at a time. Calls that find nothing wait for the request that is under
/// way, and are then asked for together. If the store has less than they need, it gives all that it has,
/// in the order in which they came. Each key is asked for call by call
/// - while it is asked for fewer than four times in a life,
/// - if its share is less than eight units: a small limit, below 80 with the default, is not leased,
/// - under other limits than those under which something is held.
///
/// # What else is different
///
/// - `remaining` is what the store told when the slice was taken, and what is held besides. `reset_after`
///   is as if all that is held were spent. Neither knows what other processes charged since.
/// - A refund goes into the slice that was spent, while it is held, and to the store afterwards.
/// - [`reset`](Backend::reset) makes void what this process holds, and waits for what is on its way back,
///   for ten seconds at most. What *others* hold can be spent, or is given back to the fresh key, until its
///   life is over.
/// - A store that fails is not noticed while something is held.
/// - Joined decisions ([`Join::All`](ratelimit_core::Join::All)) always ask the store.
/// - Something is held only by callers on a tokio runtime, as a task there gives it back.
///
/// # Around which backend
///
/// Around one that does I/O and is shared with other processes; inside of it a
/// [`Timeout`](super::Timeout), as always, and a [`DenialCache`](super::DenialCache), which then answers
/// for keys that have nothing left. A lease is the outermost of them, and there is no other one inside: it
/// would count the life of a slice from when the other one answered. A backend that answers
/// [immediately](ratelimit_core::Capabilities::immediate) gains nothing, and is asked at once.
///
/// # Errors
///
/// A [`life`](Self::life), [`max_share`](Self::max_share) or [`max_keys`](Self::max_keys) out of its
/// bounds, a backend without an algorithm that can be leased, or one that is
/// [leased](ratelimit_core::Capabilities::leases) already, is an error of the kind
/// [`Configuration`](ErrorKind::Configuration) when the layer is put around the backend. More than
/// 100,000 calls that wait are told [`Overloaded`](ErrorKind::Overloaded); one that has waited for ten
/// seconds, for a store without a bound or for a runtime that nobody drives, is told
/// [`Timeout`](ErrorKind::Timeout).
///
/// ```
/// use std::sync::Arc;
/// use ratelimit_backends::layers::Lease;
/// use ratelimit_backends::memory::MemoryBackend;
/// use ratelimit_core::{Algorithm, Backend, Check, Join, KeyBuf, Layer, Policy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lease = Lease::new();
/// let stats = lease.stats();
/// // As if it were far away.
/// let backend = lease.layer(Arc::new(MemoryBackend::new()))?;
///
/// let policy = Policy::new("search", Algorithm::FixedWindow, "100000/h".parse()?);
/// let key = KeyBuf::of("everybody");
/// let check = Check::new(&policy, policy.limits(), key.as_ref());
/// for _ in 0..1_000 {
///     let answers = backend.decide(&[check], Join::Each).await;
///     assert!(answers[0].as_ref().is_ok_and(|decision| decision.is_allowed()));
/// }
/// assert!(stats.hits() > stats.misses());
/// // What is held goes back.
/// backend.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    life: Duration,
    max_share: f64,
    max_keys: usize,
    clock: Option<Arc<dyn Clock>>,
    stats: LeaseStats,
}

/// What can be leased.
const LEASED: AlgorithmSet = AlgorithmSet::EMPTY
    .with(Algorithm::TokenBucket)
    .with(Algorithm::Gcra)
    .with(Algorithm::FixedWindow);

impl Lease {
    /// How long a slice may be spent unless said otherwise: 100 ms.
    pub const DEFAULT_LIFE: Duration = Duration::from_millis(100);

    /// The longest life of a slice: ten seconds.
    pub const MAX_LIFE: Duration = Duration::from_secs(10);

    /// How much of a key's capacity may be held unless said otherwise: a tenth.
    pub const DEFAULT_MAX_SHARE: f64 = 0.1;

    /// Of how many keys slices are held at most unless said otherwise.
    pub const DEFAULT_MAX_KEYS: usize = 10_000;

    /// A layer with the default bounds and clock.
    pub fn new() -> Self {
        Self {
            life: Self::DEFAULT_LIFE,
            max_share: Self::DEFAULT_MAX_SHARE,
            max_keys: Self::DEFAULT_MAX_KEYS,
            clock: None,
            stats: LeaseStats::default(),
        }
    }

    /// How long a slice may be spent after it was asked for. Above zero, and at most
    /// [`MAX_LIFE`](Self::MAX_LIFE).
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// How much of a key's capacity this process may hold without spending it: above 0, at most 1.
    pub fn max_share(mut self, max_share: f64) -> Self {
        self.max_share = max_share;
        self
    }

    /// Of how many keys slices are held at most. Above zero. The demand of each is known as well, which
    /// takes about a kilobyte.
    pub fn max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    /// The clock that says how old a slice is, if not this process's [monotonic](MonotonicClock) one.
    /// It need not agree with the store's, but has to go as fast, and must not step: by as much as one
    /// like [`SystemClock`](ratelimit_core::SystemClock) steps back, slices may be spent after their life
    /// or their window. Such a clock does not do.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// What is counted: for metrics, to be read at any time.
    pub fn stats(&self) -> LeaseStats {
        self.stats.clone()
    }

    /// What is wrong with the options, if anything is.
    fn fault(&self) -> Option<String> {
        if self.life.is_zero() || self.life > Self::MAX_LIFE {
            let (found, most) = (self.life, Self::MAX_LIFE);
            return Some(format!(
                "a `life` of {found:?} does not do for slices; it has to be above 0s and at most {most:?}"
            ));
        }
        if !(self.max_share > 0.0 && self.max_share <= 1.0) {
            let found = self.max_share;
            return Some(format!(
                "a `max_share` of {found} is no part of a budget; it has to be above 0 and at most 1"
            ));
        }
        if self.max_keys == 0 {
            return Some(
                "`max_keys` of 0 leaves no room for a slice; at least 1 is needed, and the default is \
                 10000"
                    .to_owned(),
            );
        }
        None
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for Lease {
    fn layer(&self, inner: Arc<dyn Backend>) -> Result<Arc<dyn Backend>, Error> {
        let wrong = |message| Error::new(ErrorKind::Configuration, message);
        if let Some(fault) = self.fault() {
            return Err(wrong(fault));
        }
        let can = inner.capabilities();
        if can.leases {
            return Err(wrong(
                "there is a lease around this backend already; a second one would spend for longer than \
                 either says what the first has held before"
                    .to_owned(),
            ));
        }
        let mut has = AlgorithmSet::EMPTY;
        for algorithm in Algorithm::ALL {
            let both = LEASED.contains(algorithm) && can.algorithms.contains(algorithm);
            // What is not spent has to be given back.
            if both && can.refund.contains(algorithm) {
                has = has.with(algorithm);
            }
        }
        if has == AlgorithmSet::EMPTY {
            return Err(wrong(format!(
                "a lease needs a backend that decides one of {LEASED} and takes charges back; this one \
                 decides {} and takes back those of {}",
                can.algorithms, can.refund
            )));
        }
        prepare()?;
        let clock = match &self.clock {
            Some(clock) => Arc::clone(clock),
            None => Arc::new(MonotonicClock::new()),
        };
        let term = Term {
            life: self.life,
            resolution: can.resolution,
        };
        let accounts = Accounts::new(self.max_keys, self.max_share, self.life)?;
        let shared = Arc::new(Shared::new(accounts, term, clock, self.stats.clone()));
        self.stats.add(&shared);
        Ok(Arc::new(Leased::new(inner, shared, has)))
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests;
