//! [`State`]: the state of one rate, whichever algorithm it is of.

use core::cmp::Ordering;

use super::sliding_window::{Log, LogStep};
use super::{
    Algorithm, Span, Terms, Verdict, Write, bucket, fixed_window, leaky_bucket,
    sliding_window_counter,
};
use crate::check::Check;
use crate::clock::Timestamp;
use crate::decision::Charge;

/// The state of one rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Bucket(bucket::State),
    Leaky(bucket::State),
    Fixed(fixed_window::State),
    Counter(sliding_window_counter::State),
    Log(Box<Log>),
}

/// What a step wants stored, until it is known that every rate agrees.
pub(super) enum Pending {
    State(State),
    Log(LogStep),
}

/// What the step of one rate wants stored, why, and its answer.
pub(super) type Asked = (Pending, Write, Verdict);

impl State {
    pub(super) fn fresh(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::TokenBucket | Algorithm::Gcra => Self::Bucket(bucket::State::default()),
            Algorithm::LeakyBucket => Self::Leaky(bucket::State::default()),
            Algorithm::FixedWindow => Self::Fixed(fixed_window::State::default()),
            Algorithm::SlidingWindowCounter => {
                Self::Counter(sliding_window_counter::State::default())
            }
            Algorithm::SlidingWindow => Self::Log(Box::default()),
        }
    }

    pub(super) fn step(&self, terms: &Terms, now: u64, cost: u32, delay: u64) -> Asked {
        match self {
            Self::Bucket(state) => {
                let step = bucket::step(*state, terms, now, cost);
                (
                    Pending::State(Self::Bucket(step.state)),
                    step.write,
                    step.verdict,
                )
            }
            Self::Leaky(state) => {
                let step = leaky_bucket::step(*state, terms, now, cost, delay);
                (
                    Pending::State(Self::Leaky(step.state)),
                    step.write,
                    step.verdict,
                )
            }
            Self::Fixed(state) => {
                let step = fixed_window::step(*state, terms, now, cost);
                (
                    Pending::State(Self::Fixed(step.state)),
                    step.write,
                    step.verdict,
                )
            }
            Self::Counter(state) => {
                let step = sliding_window_counter::step(*state, terms, now, cost);
                (
                    Pending::State(Self::Counter(step.state)),
                    step.write,
                    step.verdict,
                )
            }
            Self::Log(log) => {
                let step = log.step(terms, now, cost);
                (Pending::Log(step), step.write, step.verdict)
            }
        }
    }

    pub(super) fn ask(&self, terms: &Terms, check: &Check<'_>, now: Timestamp) -> Asked {
        let max_delay = u64::try_from(check.max_delay.as_nanos()).unwrap_or(u64::MAX);
        self.step(terms, now.as_nanos(), check.cost, max_delay)
    }

    pub(super) fn store(&mut self, (pending, write, _): Asked) {
        match (self, pending) {
            _ if write == Write::Nothing => {}
            (place, Pending::State(state)) => *place = state,
            (Self::Log(log), Pending::Log(step)) => log.apply(&step),
            (_, Pending::Log(_)) => {}
        }
    }

    pub(super) fn refund(
        &mut self,
        terms: &Terms,
        now: u64,
        charge: &Charge,
        rate: usize,
        units: u32,
    ) {
        let at = charge.at.as_nanos();
        // A charge of fewer rates than there are now has nothing to give back to the others.
        let charged_to = charge.full_at().nth(rate).unwrap_or_default();
        match self {
            Self::Leaky(state) if charge.queued => {
                *state = leaky_bucket::give_back(*state, terms, now, charged_to, units);
            }
            Self::Bucket(state) | Self::Leaky(state) => {
                *state = bucket::refund(*state, terms, now, charged_to, units);
            }
            Self::Fixed(state) => *state = fixed_window::refund(*state, terms, now, at, units),
            Self::Counter(state) => {
                *state = sliding_window_counter::refund(*state, terms, now, at, units);
            }
            Self::Log(log) => log.refund(at, units),
        }
    }

    /// Which of two states is used more at `now`, each under its own period.
    pub(super) fn cmp_use(
        &self,
        period: u64,
        other: &Self,
        other_period: u64,
        now: u64,
    ) -> Ordering {
        match (self, other) {
            (Self::Bucket(one) | Self::Leaky(one), Self::Bucket(other) | Self::Leaky(other)) => {
                one.cmp_full_at(other)
            }
            _ => self.used(period, now).cmp(&other.used(other_period, now)),
        }
    }

    /// What counts in a window at `now`.
    fn used(&self, period: u64, now: u64) -> u64 {
        match self {
            Self::Fixed(state) => state.used(period, now).into(),
            Self::Counter(state) => state.used(period, now).into(),
            Self::Log(log) => log.used(period, now),
            Self::Bucket(_) | Self::Leaky(_) => 0,
        }
    }

    /// What a rate of another period starts with.
    pub(super) fn carried(&self, from: u64, to: u64, now: u64) -> Self {
        match self {
            Self::Bucket(_) | Self::Leaky(_) => self.clone(),
            Self::Fixed(state) => Self::Fixed(state.carried(from, to, now)),
            Self::Counter(state) => Self::Counter(state.carried(from, to, now)),
            Self::Log(log) => Self::Log(Box::new(log.carried(from, now))),
        }
    }

    pub(super) fn newest(&self, period: u64) -> u64 {
        match self {
            // The instant at which a bucket is full again says nothing of when it was charged.
            Self::Bucket(_) | Self::Leaky(_) => 0,
            Self::Fixed(state) => state.window.saturating_mul(period),
            Self::Counter(state) => state.window.saturating_mul(period),
            Self::Log(log) => log.newest(),
        }
    }

    /// Since when it can have been charged, of a bucket, whose newest instant is not known.
    pub(super) fn charged_since(&self, terms: &Terms) -> Option<u64> {
        match self {
            Self::Bucket(state) | Self::Leaky(state) => Some(state.charged_since(terms)),
            Self::Fixed(_) | Self::Counter(_) | Self::Log(_) => None,
        }
    }

    pub(super) fn follow_back(&mut self, period: u64, now: u64, latest: u64) {
        match self {
            Self::Bucket(state) | Self::Leaky(state) => {
                if state.full_at.whole > latest {
                    state.full_at = Span {
                        whole: latest,
                        part: 0,
                    };
                }
            }
            Self::Fixed(state) => *state = state.at(period, now).0,
            Self::Counter(state) => *state = state.at(period, now).0,
            Self::Log(log) => log.follow_back(now),
        }
    }

    pub(super) fn fresh_at(&self, period: u64) -> u64 {
        match self {
            Self::Bucket(state) | Self::Leaky(state) => state.fresh_at(),
            Self::Fixed(state) => state.fresh_at(period),
            Self::Counter(state) => state.fresh_at(period),
            Self::Log(log) => log.fresh_at(period),
        }
    }
}
