//! [`KeyState`] as bytes, for stores that keep it.
//!
//! The bytes start with the number of their format, so that a later release can read what an earlier
//! one has written, and one that is too old says so instead of misreading it. All numbers are
//! unsigned, the highest byte first:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format: 1 |
//! | 1 | the algorithm |
//! | 1 | how many rates there are; then for each |
//! | 8 | its period, in nanoseconds |
//! | 20 | of a bucket, when it is full again: seconds (8), nanoseconds (4), the fraction of one (4) and its denominator (4) |
//! | 12 | of a fixed window, its number (8) and count (4) |
//! | 16 | of a window counter, its number (8), the count before (4) and the current one (4) |
//! | 12 | of a log, how many entries there are (4) and the sum of their costs (8); then, oldest first, 16 for each: seconds (8), nanoseconds (4), cost (4) |
//!
//! Instants are seconds and nanoseconds apart, so that a store whose numbers are doubles can add and
//! compare them without losing any of their digits.

use core::fmt;

use smallvec::SmallVec;

use super::key_state::{Kept, KeyState, MAX_KEPT};
use super::sliding_window::{Entry, Log};
use super::state::State;
use super::{Algorithm, Span, bucket, fixed_window, sliding_window_counter};
use crate::error::{Error, ErrorKind};

/// The format that is written.
const FORMAT: u8 = 1;

const NANOS: u64 = 1_000_000_000;

/// Why bytes are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateFault {
    /// Nothing at all.
    Empty,
    /// Written by a release that this one does not know.
    Format(u8),
    /// An algorithm that this release does not know.
    Algorithm(u8),
    /// They end too soon.
    TooShort,
    /// Something follows.
    TooLong,
    /// More rates than a key can have.
    Rates(u8),
    /// Numbers that no state has.
    Impossible,
}

impl fmt::Display for StateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the stored state is empty"),
            Self::Format(format) => write!(
                f,
                "the stored state has format {format}, and this release reads {FORMAT}"
            ),
            Self::Algorithm(number) => {
                write!(
                    f,
                    "the stored state is of an algorithm with the number {number}, which this release does not know"
                )
            }
            Self::TooShort => f.write_str("the stored state ends too soon"),
            Self::TooLong => f.write_str("something stands behind the stored state"),
            Self::Rates(count) => write!(
                f,
                "the stored state is of {count} rates, and a key has at most {MAX_KEPT}"
            ),
            Self::Impossible => f.write_str("the stored state has numbers that no state has"),
        }
    }
}

impl core::error::Error for StateFault {}

impl From<StateFault> for Error {
    fn from(fault: StateFault) -> Self {
        Error::new(ErrorKind::Protocol, fault.to_string())
    }
}

impl KeyState {
    /// The state as bytes, behind those that are there.
    ///
    /// ```
    /// use ratelimit_core::{Algorithm, KeyState};
    ///
    /// let state = KeyState::fresh(Algorithm::TokenBucket);
    /// let mut bytes = Vec::new();
    /// state.encode(&mut bytes);
    /// assert_eq!(KeyState::decode(&bytes), Ok(state));
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        out.push(self.algorithm().number());
        let rates = self.kept();
        // At most eight.
        out.push(u8::try_from(rates.len()).unwrap_or(u8::MAX));
        for Kept { period, state } in rates {
            out.extend(period.to_be_bytes());
            match state {
                State::Bucket(state) | State::Leaky(state) => {
                    instant(state.full_at.whole, out);
                    out.extend(state.full_at.part.to_be_bytes());
                    out.extend(state.q.to_be_bytes());
                }
                State::Fixed(state) => {
                    out.extend(state.window.to_be_bytes());
                    out.extend(state.count.to_be_bytes());
                }
                State::Counter(state) => {
                    out.extend(state.window.to_be_bytes());
                    out.extend(state.previous.to_be_bytes());
                    out.extend(state.current.to_be_bytes());
                }
                State::Log(log) => {
                    let entries = log.entries();
                    // As many as a limit can be large.
                    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                    out.extend(count.to_be_bytes());
                    out.extend(log.total().to_be_bytes());
                    for entry in entries {
                        instant(entry.at, out);
                        out.extend(entry.cost.to_be_bytes());
                    }
                }
            }
        }
    }

    /// The state of which these are the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateFault> {
        let mut reader = Reader(bytes);
        match reader.byte() {
            Ok(FORMAT) => {}
            Ok(format) => return Err(StateFault::Format(format)),
            Err(_) => return Err(StateFault::Empty),
        }
        let algorithm = reader.byte()?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|known| known.number() == algorithm)
            .ok_or(StateFault::Algorithm(algorithm))?;
        let count = reader.byte()?;
        if usize::from(count) > MAX_KEPT {
            return Err(StateFault::Rates(count));
        }
        let mut rates = SmallVec::with_capacity(count.into());
        for _ in 0..count {
            let period = reader.u64()?;
            if period == 0 {
                return Err(StateFault::Impossible);
            }
            let state = reader.state(algorithm)?;
            rates.push(Kept { period, state });
        }
        match reader.0 {
            [] => Ok(Self::of(algorithm, rates)),
            _ => Err(StateFault::TooLong),
        }
    }
}

fn instant(nanos: u64, out: &mut Vec<u8>) {
    out.extend((nanos / NANOS).to_be_bytes());
    // Below a thousand million.
    out.extend(u32::try_from(nanos % NANOS).unwrap_or(0).to_be_bytes());
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(StateFault::TooShort)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, StateFault> {
        self.take().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, StateFault> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, StateFault> {
        self.take().map(u64::from_be_bytes)
    }

    fn instant(&mut self) -> Result<u64, StateFault> {
        let (seconds, nanos) = (self.u64()?, u64::from(self.u32()?));
        let whole = seconds.checked_mul(NANOS).filter(|_| nanos < NANOS);
        let instant = whole.and_then(|whole| whole.checked_add(nanos));
        instant.ok_or(StateFault::Impossible)
    }

    fn state(&mut self, algorithm: Algorithm) -> Result<State, StateFault> {
        Ok(match algorithm {
            Algorithm::TokenBucket | Algorithm::Gcra => State::Bucket(self.bucket()?),
            Algorithm::LeakyBucket => State::Leaky(self.bucket()?),
            Algorithm::FixedWindow => State::Fixed(fixed_window::State {
                window: self.u64()?,
                count: self.u32()?,
            }),
            Algorithm::SlidingWindowCounter => State::Counter(sliding_window_counter::State {
                window: self.u64()?,
                previous: self.u32()?,
                current: self.u32()?,
            }),
            Algorithm::SlidingWindow => State::Log(Box::new(self.log()?)),
        })
    }

    fn bucket(&mut self) -> Result<bucket::State, StateFault> {
        let whole = self.instant()?;
        let (part, q) = (self.u32()?, self.u32()?);
        if part >= q.max(1) {
            return Err(StateFault::Impossible);
        }
        let full_at = Span { whole, part };
        Ok(bucket::State { full_at, q })
    }

    fn log(&mut self) -> Result<Log, StateFault> {
        let (count, total) = (self.u32()? as usize, self.u64()?);
        // Nothing is allocated for entries that are not there.
        if self.0.len() / 16 < count {
            return Err(StateFault::TooShort);
        }
        let entries = (0..count).map(|_| {
            let (at, cost) = (self.instant()?, self.u32()?);
            Ok(Entry { at, cost })
        });
        let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
        let in_order = entries.is_sorted_by(|one, other| one.at < other.at);
        if !in_order || entries.iter().any(|entry| entry.cost == 0) {
            return Err(StateFault::Impossible);
        }
        let log = Log::of(entries);
        if log.total() != total {
            return Err(StateFault::Impossible);
        }
        Ok(log)
    }
}
