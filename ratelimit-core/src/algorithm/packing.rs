//! The state of one rate in one machine word, for a store that keeps very many of them.

use super::key_state::{Kept, KeyState};
use super::sliding_window_counter as counter;
use super::state::State;
use super::{Algorithm, Span, Verdict, WholeBucket, Write, bucket, fixed_window, leaky_bucket};
use crate::check::Check;
use crate::clock::Timestamp;
use crate::decision::{Charge, Decision};
use crate::limits::Limits;

/// What it takes to read a word in which the state of one rate is kept.
///
/// A word means something only together with the packing that it was made with: the algorithm, the
/// period, and an epoch from which instants are counted. The word of a fresh state is 0.
///
/// - A bucket is the instant at which it is full again, in the fractions of a nanosecond that its
///   rate needs (`1/q`, see [`Terms`](super::Terms)).
/// - A fixed window is its number and its count; the window counter its number and two counts. The
///   counts have as many bits as the limit that the packing was made for.
///
/// Not every state fits: a log does not, nor do several rates, nor an instant before the epoch or
/// further from it than the word can count (584 years, divided by `q` for buckets). Such states are
/// kept as [`KeyState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packing {
    algorithm: Algorithm,
    /// The bits of a count; 0 for a bucket, which has none.
    bits: u8,
    /// The denominator of a bucket's fraction of a tick; 1 for windows.
    q: u32,
    period: u64,
    /// In nanoseconds; for windows the number of the window of the epoch.
    epoch: u64,
    /// The period of a bucket whose interval is whole ticks; 0 for any other state.
    whole_period: u64,
}

/// What a check does to a packed state. Small, as it is thrown away when somebody else was faster.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    /// The word after it.
    pub word: u64,
    /// Whether, and why, to store it.
    pub write: Write,
    verdict: Verdict,
    full_at: Span,
    /// The most that can be spent at once.
    capacity: u32,
}

impl Packed {
    /// Whether the check is admitted.
    #[inline]
    pub fn is_allowed(&self) -> bool {
        self.verdict.allowed
    }

    /// Whether the cost can never fit.
    #[inline]
    pub fn is_unsatisfiable(&self) -> bool {
        self.verdict.retry_after == u64::MAX
    }

    /// How long until the state equals a fresh key's, in nanoseconds.
    #[inline]
    pub fn reset_after(&self) -> u64 {
        self.verdict.reset_after
    }
}

impl Packing {
    /// How the states of such a policy are packed, if they can be.
    pub fn of(algorithm: Algorithm, limits: &Limits, epoch: Timestamp) -> Option<Self> {
        let terms = limits.only()?.terms();
        let epoch = epoch.as_nanos();
        let bits = |limit: u32| u8::try_from(32 - limit.leading_zeros()).unwrap_or(32);
        let (bits, q, epoch) = match algorithm {
            Algorithm::TokenBucket | Algorithm::Gcra | Algorithm::LeakyBucket => {
                (0, terms.q, epoch)
            }
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => {
                (bits(terms.limit), 1, epoch / terms.period)
            }
            Algorithm::SlidingWindow => return None,
        };
        Some(Self {
            algorithm,
            bits,
            q,
            period: terms.period,
            epoch,
            whole_period: if bits == 0 && q == 1 { terms.period } else { 0 },
        })
    }

    /// Whether a state that is packed like this goes on unchanged under these limits.
    #[inline(always)]
    pub fn suits(&self, limits: &Limits) -> bool {
        limits.only().is_some_and(|limit| {
            let terms = limit.terms();
            terms.period == self.period && (terms.q == self.q || !self.is_bucket())
        })
    }

    /// The bucket of such limits, whose states are packed like this, if its interval is whole
    /// nanoseconds.
    #[inline(always)]
    pub fn whole_bucket(&self, limits: &Limits) -> Option<WholeBucket> {
        let terms = limits.only()?.terms();
        if terms.period != self.whole_period {
            return None;
        }
        WholeBucket::of(terms, self.epoch)
    }

    /// Decides the check on a packed state. The limits must [suit](Self::suits) it. `None` when the
    /// state to store does not fit a word.
    pub fn step(&self, word: u64, check: &Check<'_>, now: Timestamp) -> Option<Packed> {
        let terms = check.limits.only()?.terms();
        let (now, cost) = (now.as_nanos(), check.cost);
        let mut full_at = Span::default();
        let (stored, write, verdict) = match self.algorithm {
            Algorithm::FixedWindow => {
                let step = fixed_window::step(self.fixed(word), terms, now, cost);
                (self.fixed_word(step.state), step.write, step.verdict)
            }
            Algorithm::SlidingWindowCounter => {
                let step = counter::step(self.counter(word), terms, now, cost);
                (self.counter_word(step.state), step.write, step.verdict)
            }
            Algorithm::LeakyBucket => {
                let delay = u64::try_from(check.max_delay.as_nanos()).unwrap_or(u64::MAX);
                let step = leaky_bucket::step(self.bucket(word), terms, now, cost, delay);
                full_at = step.state.full_at;
                (self.instant_word(full_at), step.write, step.verdict)
            }
            _ => {
                let step = bucket::step(self.bucket(word), terms, now, cost);
                full_at = step.state.full_at;
                (self.instant_word(full_at), step.write, step.verdict)
            }
        };
        let word = match write {
            Write::Nothing => word,
            _ => stored?,
        };
        Some(Packed {
            word,
            write,
            verdict,
            full_at,
            capacity: if self.is_bucket() {
                terms.burst
            } else {
                terms.limit
            },
        })
    }

    /// The answer to the check that a step decided.
    pub fn answer(&self, step: &Packed, check: &Check<'_>, now: Timestamp) -> Decision {
        let cost = if step.verdict.allowed { check.cost } else { 0 };
        let full_at = self.is_bucket().then_some(step.full_at);
        let charge = Charge::of_one(now, cost, !check.max_delay.is_zero(), full_at);
        Decision::of_one(step.capacity, &step.verdict, charge)
    }

    /// The instant from which the state equals a fresh key's.
    #[inline]
    pub fn fresh_at(&self, word: u64) -> Timestamp {
        let nanos = match self.algorithm {
            Algorithm::FixedWindow => self.fixed(word).fresh_at(self.period),
            Algorithm::SlidingWindowCounter => self.counter(word).fresh_at(self.period),
            _ => self.bucket(word).fresh_at(),
        };
        Timestamp::from_nanos(nanos)
    }

    /// The state that a word stands for.
    pub fn unpack(&self, word: u64) -> KeyState {
        let state = match self.algorithm {
            Algorithm::FixedWindow => State::Fixed(self.fixed(word)),
            Algorithm::SlidingWindowCounter => State::Counter(self.counter(word)),
            Algorithm::LeakyBucket => State::Leaky(self.bucket(word)),
            _ => State::Bucket(self.bucket(word)),
        };
        let period = self.period;
        KeyState::of_one(self.algorithm, Kept { period, state })
    }

    /// The word that stands for a state, if it fits.
    pub fn pack(&self, state: &KeyState) -> Option<u64> {
        let kept = state.only()?;
        if kept.period != self.period {
            return None;
        }
        match &kept.state {
            State::Bucket(state) | State::Leaky(state) if self.is_bucket() => {
                if state.q != self.q && *state != bucket::State::default() {
                    return None;
                }
                self.instant_word(state.full_at)
            }
            State::Fixed(state) => self.fixed_word(*state),
            State::Counter(state) => self.counter_word(*state),
            _ => None,
        }
    }

    #[inline(always)]
    fn is_bucket(&self) -> bool {
        self.bits == 0
    }

    #[inline]
    fn bucket(&self, word: u64) -> bucket::State {
        if word == 0 {
            return bucket::State::default();
        }
        let (whole, part) = if self.q == 1 {
            (word, 0)
        } else {
            let q = u64::from(self.q);
            (word / q, u32::try_from(word % q).unwrap_or(0))
        };
        bucket::State {
            full_at: Span {
                whole: self.epoch.saturating_add(whole),
                part,
            },
            q: self.q,
        }
    }

    #[inline]
    fn instant_word(&self, full_at: Span) -> Option<u64> {
        if full_at == Span::default() {
            return Some(0);
        }
        let whole = full_at.whole.checked_sub(self.epoch)?;
        let word = if self.q == 1 {
            whole
        } else {
            let parts = whole.checked_mul(self.q.into())?;
            parts.checked_add(full_at.part.into())?
        };
        // The epoch itself cannot be told from a fresh state.
        (word > 0).then_some(word)
    }

    #[inline]
    fn fixed(&self, word: u64) -> fixed_window::State {
        let (window, count) = self.split(word);
        fixed_window::State {
            window: self.epoch.saturating_add(window),
            count,
        }
    }

    #[inline]
    fn fixed_word(&self, state: fixed_window::State) -> Option<u64> {
        if state.count == 0 {
            return Some(0);
        }
        self.join(state.window.checked_sub(self.epoch)?, state.count)
    }

    #[inline]
    fn counter(&self, word: u64) -> counter::State {
        let (rest, current) = self.split(word);
        let (window, previous) = self.split(rest);
        counter::State {
            window: self.epoch.saturating_add(window),
            previous,
            current,
        }
    }

    #[inline]
    fn counter_word(&self, state: counter::State) -> Option<u64> {
        if state.current == 0 && state.previous == 0 {
            return Some(0);
        }
        let window = state.window.checked_sub(self.epoch)?;
        self.join(self.join(window, state.previous)?, state.current)
    }

    /// What stands above a count, and the count.
    #[inline]
    fn split(&self, word: u64) -> (u64, u32) {
        let count = word & ((1 << self.bits) - 1);
        (word >> self.bits, u32::try_from(count).unwrap_or(u32::MAX))
    }

    #[inline]
    fn join(&self, above: u64, count: u32) -> Option<u64> {
        let fits = above <= u64::MAX >> self.bits && u64::from(count) < 1 << self.bits;
        fits.then_some(above << self.bits | u64::from(count))
    }
}
