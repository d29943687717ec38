//! [`Limits`]: one to four rates with their bursts, decided together.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use crate::algorithm::{Algorithm, Terms};
use crate::rate::{NANOS_PER_SECOND, Rate, RateError, RateFault, parse_list};

/// The most rates that one policy can have.
pub const MAX_LIMITS: usize = 4;

/// The longest time that an empty bucket may take to fill: a hundred years.
///
/// It keeps every instant of the arithmetic inside the numbers of every store.
pub const MAX_FILL: Duration = Duration::from_hours(100 * 366 * 24);

/// One rate and, for the bucket algorithms, the capacity of its bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    rate: Rate,
    burst: Option<u32>,
    /// The same in nanoseconds, computed once.
    terms: Terms,
}

impl Limit {
    /// A rate whose bucket holds as much as one period allows.
    pub const fn new(rate: Rate) -> Self {
        Self {
            rate,
            burst: None,
            terms: Terms::new(rate, rate.limit(), NANOS_PER_SECOND),
        }
    }

    /// The same rate with a bucket that holds `burst` units.
    ///
    /// Fails when `burst` is zero, or when such a bucket would take longer than [`MAX_FILL`] to
    /// fill.
    pub const fn with_burst(self, burst: u32) -> Result<Self, BurstFault> {
        if burst == 0 {
            return Err(BurstFault::Zero);
        }
        let fill = burst as u128 * self.rate.period_nanos() as u128;
        if fill > MAX_FILL.as_nanos() * self.rate.limit() as u128 {
            return Err(BurstFault::TooLarge);
        }
        let terms = Terms::new(self.rate, burst, NANOS_PER_SECOND);
        Ok(Self {
            rate: self.rate,
            burst: Some(burst),
            terms,
        })
    }

    /// The rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The burst, where one was given.
    pub const fn burst(&self) -> Option<u32> {
        self.burst
    }

    /// The largest cost that can ever be admitted at once: the burst for the bucket algorithms,
    /// the rate's limit for the windows.
    pub const fn capacity(&self, algorithm: Algorithm) -> u32 {
        match self.burst {
            Some(burst) if algorithm.is_bucket() => burst,
            _ => self.rate.limit(),
        }
    }

    /// The limit in nanoseconds, for a clock of that resolution.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The limit in ticks of which a second has `ticks_per_second`, for a store whose clock is
    /// coarser than a nanosecond. Ticks are whole fractions of a millisecond.
    pub const fn terms_in(&self, ticks_per_second: u64) -> Terms {
        let burst = match self.burst {
            Some(burst) => burst,
            None => self.rate.limit(),
        };
        Terms::new(self.rate, burst, ticks_per_second)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.burst {
            Some(burst) => write!(f, "{} burst {burst}", self.rate),
            None => write!(f, "{}", self.rate),
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({self})")
    }
}

impl From<Rate> for Limit {
    fn from(rate: Rate) -> Self {
        Self::new(rate)
    }
}

/// Why a burst is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BurstFault {
    /// A bucket that holds nothing admits nothing.
    Zero,
    /// The bucket would take longer than [`MAX_FILL`] to fill.
    TooLarge,
    /// There is neither one burst for all rates nor one for each.
    Count {
        /// How many bursts were given.
        bursts: usize,
        /// How many rates there are.
        rates: usize,
    },
}

impl BurstFault {
    /// What is wrong, as a clause without a full stop; usable in `const` panics.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Zero => "a burst must be at least 1",
            Self::TooLarge => "a bucket with this burst would take over a hundred years to fill",
            Self::Count { .. } => "give one burst for each rate",
        }
    }
}

impl fmt::Display for BurstFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected())?;
        if let Self::Count { bursts, rates } = self {
            write!(f, ": found {bursts} for {rates}")?;
        }
        Ok(())
    }
}

impl core::error::Error for BurstFault {}

/// One to four rates that are one decision: all of them pass, or nothing is charged.
///
/// The rates are kept in the order of their periods, shortest first, whatever order they were
/// written in: the order has no meaning.
///
/// ```
/// use ratelimit_core::Limits;
///
/// let limits: Limits = "100/h, 5/s".parse()?;
/// assert_eq!(limits.to_string(), "5/s, 100/h");
/// assert_eq!(limits, "5/s,100/h".parse()?);
/// # Ok::<(), ratelimit_core::RateError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Limits {
    limits: [Limit; MAX_LIMITS],
    count: u8,
}

impl Limits {
    /// One rate.
    pub const fn new(limit: Limit) -> Self {
        Self {
            limits: [limit; MAX_LIMITS],
            count: 1,
        }
    }

    /// Several rates; `None` when there are none, or more than [`MAX_LIMITS`].
    pub const fn several(limits: &[Limit]) -> Option<Self> {
        if limits.is_empty() || limits.len() > MAX_LIMITS {
            return None;
        }
        let mut sorted = [limits[0]; MAX_LIMITS];
        let mut count = 0;
        while count < limits.len() {
            // Insertion sort: `const` has no other, and there are at most four.
            let limit = limits[count];
            let mut place = count;
            while place > 0 && limit.comes_before(&sorted[place - 1]) {
                sorted[place] = sorted[place - 1];
                place -= 1;
            }
            sorted[place] = limit;
            count += 1;
        }
        #[allow(clippy::cast_possible_truncation)] // at most MAX_LIMITS
        let count = count as u8;
        Some(Self {
            limits: sorted,
            count,
        })
    }

    /// Reads one to four rates separated by commas; usable in `const`.
    ///
    /// [`FromStr`] does the same and keeps the text for its message.
    pub const fn parse(text: &str) -> Result<Self, RateFault> {
        let (rates, count) = match parse_list(text.as_bytes()) {
            Ok(read) => read,
            Err(fault) => return Err(fault),
        };
        match Self::from_rates(rates.split_at(count).0, &[]) {
            Ok(limits) => Ok(limits),
            // Not reached: the grammar reads one to four rates, and no burst was given.
            Err(_) => Ok(Self::new(Limit::new(rates[0]))),
        }
    }

    /// One to four rates with a burst for each in the same order, with one burst for all of them,
    /// or (an empty slice) with none; usable in `const`.
    pub const fn from_rates(rates: &[Rate], bursts: &[u32]) -> Result<Self, BurstFault> {
        let fault = BurstFault::Count {
            bursts: bursts.len(),
            rates: rates.len(),
        };
        if rates.is_empty() || rates.len() > MAX_LIMITS {
            return Err(fault);
        }
        if bursts.len() > 1 && bursts.len() != rates.len() {
            return Err(fault);
        }
        let mut limits = [Limit::new(rates[0]); MAX_LIMITS];
        let mut index = 0;
        while index < rates.len() {
            let limit = Limit::new(rates[index]);
            limits[index] = if bursts.is_empty() {
                limit
            } else {
                let burst = if bursts.len() == 1 {
                    bursts[0]
                } else {
                    bursts[index]
                };
                match limit.with_burst(burst) {
                    Ok(limit) => limit,
                    Err(fault) => return Err(fault),
                }
            };
            index += 1;
        }
        match Self::several(limits.split_at(rates.len()).0) {
            Some(limits) => Ok(limits),
            None => Err(fault),
        }
    }

    /// These rates with the same burst each, or with one burst for each rate in
    /// [this order](Self::as_slice).
    pub const fn with_bursts(mut self, bursts: &[u32]) -> Result<Self, BurstFault> {
        let rates = self.count as usize;
        if bursts.len() != rates && bursts.len() != 1 {
            return Err(BurstFault::Count {
                bursts: bursts.len(),
                rates,
            });
        }
        let mut index = 0;
        while index < rates {
            let burst = if bursts.len() == 1 {
                bursts[0]
            } else {
                bursts[index]
            };
            self.limits[index] = match self.limits[index].with_burst(burst) {
                Ok(limit) => limit,
                Err(fault) => return Err(fault),
            };
            index += 1;
        }
        Ok(self)
    }

    /// The rates, shortest period first.
    pub const fn as_slice(&self) -> &[Limit] {
        self.limits.split_at(self.count as usize).0
    }

    /// The only rate, where there is one.
    #[inline]
    pub(crate) const fn only(&self) -> Option<&Limit> {
        match self.count {
            1 => Some(&self.limits[0]),
            _ => None,
        }
    }

    /// The largest cost that can ever be admitted at once.
    pub const fn capacity(&self, algorithm: Algorithm) -> u32 {
        let mut smallest = self.limits[0].capacity(algorithm);
        let mut index = 1;
        while index < self.count as usize {
            let capacity = self.limits[index].capacity(algorithm);
            if capacity < smallest {
                smallest = capacity;
            }
            index += 1;
        }
        smallest
    }

    /// Whether any rate was given a burst of its own.
    pub fn has_burst(&self) -> bool {
        self.as_slice().iter().any(|limit| limit.burst.is_some())
    }
}

impl Limit {
    const fn comes_before(&self, other: &Self) -> bool {
        let (a, b) = (self.rate, other.rate);
        if a.period_nanos() != b.period_nanos() {
            return a.period_nanos() < b.period_nanos();
        }
        if a.limit() != b.limit() {
            return a.limit() < b.limit();
        }
        match (self.burst, other.burst) {
            (Some(a), Some(b)) => a < b,
            (None, Some(_)) => true,
            _ => false,
        }
    }
}

impl PartialEq for Limits {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Limits {}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, limit) in self.as_slice().iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{limit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limits({self})")
    }
}

impl FromStr for Limits {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        Self::parse(text).map_err(|fault| RateError::new(text, fault))
    }
}

impl From<Rate> for Limits {
    fn from(rate: Rate) -> Self {
        Self::new(Limit::new(rate))
    }
}

impl From<&Rate> for Limits {
    fn from(rate: &Rate) -> Self {
        Self::from(*rate)
    }
}

impl From<Limit> for Limits {
    fn from(limit: Limit) -> Self {
        Self::new(limit)
    }
}

impl From<&Limits> for Limits {
    fn from(limits: &Limits) -> Self {
        *limits
    }
}

macro_rules! from_arrays {
    ($($count:literal)*) => {$(
        impl From<[Rate; $count]> for Limits {
            fn from(rates: [Rate; $count]) -> Self {
                let limits = rates.map(Limit::new);
                Self::several(&limits).unwrap_or(Self::new(limits[0]))
            }
        }
    )*};
}

from_arrays!(1 2 3 4);

#[cfg(test)]
mod tests;
