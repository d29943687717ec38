//! The names of the algorithms, and sets of them.

use core::fmt;
use core::str::FromStr;

/// How a rate is enforced.
///
/// A bucket admits at most its burst plus what the rate gives in an interval, so that a period can
/// see more than the limit. Where it must never, there is `sliding_window`.
///
/// | name | state per key | exact | bursts |
/// |---|---|---|---|
/// | `token_bucket` | one instant | yes | up to the burst, then evenly |
/// | `leaky_bucket` | one instant | yes | up to the burst; can delay calls to space them |
/// | `fixed_window` | a count | yes, per aligned window | twice the limit across a boundary |
/// | `sliding_window` | one entry per call | yes, in every interval | never above the limit |
/// | `sliding_window_counter` | two counts | approximate | assumes the last window was even |
/// | `gcra` | one instant | yes | the token bucket's arithmetic under its other name |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// A bucket of `burst` tokens, full at first, refilled continuously at the rate.
    #[default]
    TokenBucket,
    /// A bucket that holds `burst` units and leaks at the rate; a call that would overflow it is
    /// denied, and a call that may wait is let out when what is before it has leaked.
    LeakyBucket,
    /// A count per window, the windows aligned to the Unix epoch.
    FixedWindow,
    /// A log of admitted calls: in every half-open interval of one period, what is admitted never
    /// exceeds the limit.
    SlidingWindow,
    /// The window's count plus the previous window's, weighted by how much of it still overlaps
    /// one period.
    SlidingWindowCounter,
    /// The generic cell rate algorithm of ITU-T I.371: the token bucket's arithmetic under the
    /// name that the field knows.
    Gcra,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::TokenBucket,
        Self::LeakyBucket,
        Self::FixedWindow,
        Self::SlidingWindow,
        Self::SlidingWindowCounter,
        Self::Gcra,
    ];

    /// The name, as `algorithm = "…"` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket => "leaky_bucket",
            Self::FixedWindow => "fixed_window",
            Self::SlidingWindow => "sliding_window",
            Self::SlidingWindowCounter => "sliding_window_counter",
            Self::Gcra => "gcra",
        }
    }

    /// The number that stands for it in what is stored, for good.
    pub const fn number(self) -> u8 {
        match self {
            Self::TokenBucket => 0,
            Self::LeakyBucket => 1,
            Self::FixedWindow => 2,
            Self::SlidingWindow => 3,
            Self::SlidingWindowCounter => 4,
            Self::Gcra => 5,
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// Whether it has a bucket, and so a `burst`.
    pub const fn is_bucket(self) -> bool {
        matches!(self, Self::TokenBucket | Self::LeakyBucket | Self::Gcra)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm(String);

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown algorithm {:?}; the algorithms are ", self.0)?;
        for (index, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            write!(f, "{}{algorithm}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownAlgorithm {}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::from_name(name).ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// A set of algorithms.
///
/// ```
/// use ratelimit_core::{Algorithm, AlgorithmSet};
///
/// const BUCKETS: AlgorithmSet = AlgorithmSet::EMPTY.with(Algorithm::TokenBucket).with(Algorithm::Gcra);
/// assert!(BUCKETS.contains(Algorithm::Gcra));
/// assert_eq!(BUCKETS.to_string(), "token_bucket, gcra");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// No algorithm.
    pub const EMPTY: Self = Self(0);
    /// Every algorithm.
    pub const ALL: Self = Self::EMPTY
        .with(Algorithm::TokenBucket)
        .with(Algorithm::LeakyBucket)
        .with(Algorithm::FixedWindow)
        .with(Algorithm::SlidingWindow)
        .with(Algorithm::SlidingWindowCounter)
        .with(Algorithm::Gcra);

    /// The set with one algorithm more.
    pub const fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | 1 << algorithm as u16)
    }

    /// The set with one algorithm less.
    pub const fn without(self, algorithm: Algorithm) -> Self {
        Self(self.0 & !(1 << algorithm as u16))
    }

    /// Whether the algorithm is in the set.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }

    /// The algorithms of the set.
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(move |algorithm| self.contains(*algorithm))
    }
}

impl fmt::Display for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, algorithm) in self.iter().enumerate() {
            write!(f, "{}{algorithm}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}
