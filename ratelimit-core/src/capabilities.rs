//! [`Capabilities`]: what a backend can do, and what it cannot promise.

use core::fmt;
use core::time::Duration;

use crate::algorithm::{Algorithm, AlgorithmSet};
use crate::error::Error;

/// How far several checks can be one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum JoinScope {
    /// The rates of one key.
    OneKey,
    /// Keys that the store keeps together.
    SameSlot,
    /// Any keys.
    Any,
}

/// Whose clock decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClockKind {
    /// This process's.
    Process,
    /// The store's own.
    Server,
    /// One that the caller injects.
    Injected,
}

/// What a backend can do, and what it cannot promise.
///
/// ```
/// use ratelimit_core::{Algorithm, AlgorithmSet, Capabilities};
///
/// let capabilities = Capabilities::new(AlgorithmSet::ALL.without(Algorithm::SlidingWindow)).with_shared(true);
/// assert!(!capabilities.algorithms.contains(Algorithm::SlidingWindow));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // each says one thing, whatever the others say
pub struct Capabilities {
    /// What it decides atomically.
    pub algorithms: AlgorithmSet,
    /// For which algorithms it honours [`Check::max_delay`](crate::Check::max_delay).
    pub delay: AlgorithmSet,
    /// For which algorithms it can adjust a charge.
    pub refund: AlgorithmSet,
    /// How far several checks can be one decision.
    pub join: JoinScope,
    /// Whose clock it uses.
    pub clock: ClockKind,
    /// The tick of that clock.
    pub resolution: Duration,
    /// Other processes see the same budgets.
    pub shared: bool,
    /// It can forget a key that is still live.
    pub forgets: bool,
    /// Its futures are ready when they are first polled: it does no I/O and waits for nobody.
    pub immediate: bool,
    /// It holds units that were charged before they are asked for, and answers from them
    /// ([`Source::Lease`](crate::Source::Lease)).
    pub leases: bool,
    /// The largest limit of a `sliding_window`, which keeps an entry per admitted call.
    pub max_log: u32,
}

impl Capabilities {
    /// The default bound of a sliding window's log.
    pub const DEFAULT_MAX_LOG: u32 = 10_000;

    /// A backend of one process with its own exact clock, that decides these algorithms and
    /// forgets nothing. Change what differs.
    pub const fn new(algorithms: AlgorithmSet) -> Self {
        Self {
            algorithms,
            delay: AlgorithmSet::EMPTY,
            refund: AlgorithmSet::EMPTY,
            join: JoinScope::OneKey,
            clock: ClockKind::Process,
            resolution: Duration::from_nanos(1),
            shared: false,
            forgets: false,
            immediate: false,
            leases: false,
            max_log: Self::DEFAULT_MAX_LOG,
        }
    }

    /// The same with these algorithms delayed on request.
    pub const fn with_delay(mut self, delay: AlgorithmSet) -> Self {
        self.delay = delay;
        self
    }

    /// The same with charges of these algorithms adjusted on request.
    pub const fn with_refund(mut self, refund: AlgorithmSet) -> Self {
        self.refund = refund;
        self
    }

    /// The same, joining checks that far.
    pub const fn with_join(mut self, join: JoinScope) -> Self {
        self.join = join;
        self
    }

    /// The same with another clock.
    pub const fn with_clock(mut self, clock: ClockKind, resolution: Duration) -> Self {
        self.clock = clock;
        self.resolution = resolution;
        self
    }

    /// The same, shared with other processes or not.
    pub const fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// The same, able to forget live keys or not.
    pub const fn with_forgets(mut self, forgets: bool) -> Self {
        self.forgets = forgets;
        self
    }

    /// The same, with futures that are ready at once or not.
    pub const fn with_immediate(mut self, immediate: bool) -> Self {
        self.immediate = immediate;
        self
    }

    /// The same, holding units that were charged before or not.
    pub const fn with_leases(mut self, leases: bool) -> Self {
        self.leases = leases;
        self
    }

    /// The same with another bound of a sliding window's log.
    pub const fn with_max_log(mut self, max_log: u32) -> Self {
        self.max_log = max_log;
        self
    }

    /// Why this backend cannot decide such a check, if it cannot: an algorithm that it does not
    /// have, a log that would be too long, or a clock too coarse for the rate.
    ///
    /// Start-up validation asks this of every policy that is known; a backend asks it of every
    /// check, because limits may be made at run time.
    pub fn refuse(&self, algorithm: Algorithm, limits: &crate::Limits) -> Option<Incapable> {
        if !self.algorithms.contains(algorithm) {
            return Some(Incapable::Algorithm {
                wanted: algorithm,
                has: self.algorithms,
            });
        }
        for limit in limits.as_slice() {
            if algorithm == Algorithm::SlidingWindow && limit.rate().limit() > self.max_log {
                let (found, max_log) = (limit.rate().limit(), self.max_log);
                return Some(Incapable::LogTooLong {
                    limit: found,
                    max_log,
                });
            }
            let shortest = if algorithm.is_bucket() {
                Duration::from_nanos(limit.terms().interval.ceil())
            } else {
                limit.rate().period()
            };
            if self.resolution > shortest {
                let (resolution, rate) = (self.resolution, limit.rate());
                return Some(Incapable::ClockTooCoarse { resolution, rate });
            }
        }
        None
    }
}

/// Why a backend cannot decide a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incapable {
    /// It does not have the algorithm.
    Algorithm {
        /// The algorithm.
        wanted: Algorithm,
        /// Those that it has.
        has: AlgorithmSet,
    },
    /// The log of the sliding window could grow too long.
    LogTooLong {
        /// The limit of the rate.
        limit: u32,
        /// The largest that is allowed.
        max_log: u32,
    },
    /// The clock's tick is longer than the rate takes to refill one unit.
    ClockTooCoarse {
        /// The tick.
        resolution: Duration,
        /// The rate.
        rate: crate::Rate,
    },
}

impl fmt::Display for Incapable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm { wanted, has } => {
                write!(f, "it has no `{wanted}`; it has {has}")
            }
            Self::LogTooLong { limit, max_log } => write!(
                f,
                "a `sliding_window` keeps one entry per admitted call, and its log holds {max_log} \
                 entries, not {limit}; use `sliding_window_counter`, or allow a longer log"
            ),
            Self::ClockTooCoarse { resolution, rate } => write!(
                f,
                "its clock has a resolution of {resolution:?}, which is longer than {rate} takes \
                 to give one unit"
            ),
        }
    }
}

impl From<Incapable> for Error {
    fn from(incapable: Incapable) -> Self {
        Self::new(crate::ErrorKind::Unsupported, incapable.to_string())
    }
}
