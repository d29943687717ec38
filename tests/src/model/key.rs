//! The budget of one key: a state for each period, and what several rates decide together.

use core::cmp::Ordering;
use core::fmt::Debug;
use core::time::Duration;

use ratelimit_core::{Algorithm, Check, Outcome, Quota};

use super::Answer;
use super::bucket::{self, Bucket, Instant};
use super::fixed_window::FixedWindow;
use super::rate::{Rate, greatest, least};
use super::sliding_window::Log;
use super::sliding_window_counter::Counter;

/// How many states of other periods are kept.
const OTHERS: usize = 4;

/// What is known of one rate. Instants are ticks.
pub(super) trait State: Clone + Debug + PartialEq {
    /// Nothing was ever admitted.
    fn unused() -> Self;
    /// The state as it is at that instant. What follows is only asked of a state that was seen,
    /// for that instant and later ones.
    fn seen(&self, rate: &Rate, now: u128) -> Self;
    /// Whether it lies ahead of what it could ever be at that instant.
    fn is_ahead(&self, rate: &Rate, now: u128) -> bool;
    /// The most that can ever fit.
    fn capacity(rate: &Rate) -> u128;
    /// Whether a cost fits, if nothing else is admitted until then.
    fn fits(&self, rate: &Rate, at: u128, cost: u128) -> bool;
    /// How long a queue lets a call wait.
    fn delay(&self, _: &Rate, _: u128) -> u128 {
        0
    }
    /// Whether nothing is in use.
    fn is_clear(&self, period: u128, at: u128) -> bool;
    /// The state after a cost was charged.
    fn charged(&self, rate: &Rate, now: u128, cost: u128) -> Self;
    /// The state, as it was stored, after units of a charge were given back. The rate is that of
    /// the charge's `place`.
    fn refunded(&self, rate: &Rate, now: u128, charge: &Charge, place: usize, units: u128) -> Self;
    /// Which of two states is used more, each under its own period.
    fn compare_use(&self, period: u128, other: &Self, other_period: u128, now: u128) -> Ordering;
    /// What a rate of another period starts with.
    fn carried(&self, from: u128, to: u128, now: u128) -> Self;
    /// For buckets: when it is full again.
    fn charged_to(&self) -> Option<Instant> {
        None
    }
}

/// What an answer charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Units; zero for a denial.
    pub cost: u32,
    /// When, in ticks.
    pub(super) at: u128,
    /// It is a place in a queue.
    pub(super) queued: bool,
    /// For buckets: when each was to be full again.
    pub(super) full_at: Vec<Instant>,
}

/// What is asked of a key.
#[derive(Clone, Debug)]
pub(super) struct Question {
    rates: Vec<Rate>,
    cost: u128,
    /// In ticks; zero where nothing is ever delayed.
    max_delay: u128,
    /// Nanoseconds.
    tick: u128,
}

impl Question {
    pub(super) fn new(check: &Check<'_>, tick: u128) -> Self {
        let delays = check.policy.algorithm() == Algorithm::LeakyBucket;
        let max_delay = check.max_delay.as_nanos() / tick;
        Self {
            rates: check
                .limits
                .as_slice()
                .iter()
                .map(|limit| Rate::new(limit, tick))
                .collect(),
            cost: check.cost.into(),
            max_delay: if delays { max_delay } else { 0 },
            tick,
        }
    }

    fn costing(&self, cost: u128) -> Self {
        Self {
            cost,
            max_delay: 0,
            ..self.clone()
        }
    }

    /// Whether a rate admits the call at that instant.
    fn fits<S: State>(&self, state: &S, rate: &Rate, at: u128) -> bool {
        let in_time = self.max_delay == 0 || state.delay(rate, at) <= self.max_delay;
        self.cost == 0 || (in_time && state.fits(rate, at, self.cost))
    }

    fn quota<S: State>(&self, state: &S, rate: &Rate, now: u128, retry_after: u128) -> Quota {
        let capacity = S::capacity(rate);
        let remaining = greatest(capacity, |cost| state.fits(rate, now, cost));
        let reset_after = least(|ticks| state.is_clear(rate.period, now + ticks));
        Quota::new(
            number(capacity),
            number(remaining),
            self.time(retry_after),
            self.time(reset_after),
        )
    }

    fn time(&self, ticks: u128) -> Duration {
        Duration::from_nanos(u64::try_from(ticks * self.tick).expect("a time within the bounds"))
    }
}

fn number(units: u128) -> u32 {
    u32::try_from(units).expect("units within the limit")
}

#[derive(Clone, Debug, PartialEq)]
struct Kept<S> {
    period: u128,
    state: S,
}

/// What is known of one key: the states of the rates asked last, in their order, and others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key<S> {
    kept: Vec<Kept<S>>,
}

impl<S: State> Key<S> {
    fn fresh() -> Self {
        Self { kept: Vec::new() }
    }

    /// Puts the states of these rates first.
    fn fit(&mut self, rates: &[Rate], now: u128) {
        let periods = self.kept.iter().map(|kept| kept.period).take(rates.len());
        if periods.eq(rates.iter().map(|rate| rate.period)) {
            return;
        }
        let most_used = self.kept.iter().max_by(|one, other| {
            let used = one
                .state
                .compare_use(one.period, &other.state, other.period, now);
            used.then(one.period.cmp(&other.period))
        });
        let most_used = most_used.cloned();
        let mut others = core::mem::take(&mut self.kept);
        for rate in rates {
            let period = rate.period;
            let known = others.iter().position(|kept| kept.period == period);
            let state = match (known, &most_used) {
                (Some(place), _) => others.remove(place).state,
                (None, Some(kept)) => kept.state.carried(kept.period, period, now),
                (None, None) => S::unused(),
            };
            self.kept.push(Kept { period, state });
        }
        self.kept.extend(others.into_iter().take(OTHERS));
    }

    /// The states of the rates, as they are now.
    fn seen(&self, question: &Question, now: u128) -> Vec<S> {
        let rates = question.rates.iter().zip(&self.kept);
        rates
            .map(|(rate, kept)| kept.state.seen(rate, now))
            .collect()
    }

    fn decide(&mut self, question: &Question, now: u128) -> Answer {
        self.fit(&question.rates, now);
        let answer = self.weigh(question, now);
        let charges = answer.is_allowed() && question.cost > 0;
        if !charges {
            for (rate, kept) in question.rates.iter().zip(&mut self.kept) {
                if kept.state.is_ahead(rate, now) {
                    kept.state = kept.state.seen(rate, now);
                }
            }
            return self.with_charge(answer, 0, question, now);
        }
        for (rate, kept) in question.rates.iter().zip(&mut self.kept) {
            kept.state = kept.state.seen(rate, now).charged(rate, now, question.cost);
        }
        let left = self.weigh(&question.costing(0), now);
        let answer = Answer {
            outcome: answer.outcome,
            ..left
        };
        self.with_charge(answer, number(question.cost), question, now)
    }

    fn with_charge(&self, answer: Answer, cost: u32, question: &Question, now: u128) -> Answer {
        let kept = self.kept.iter().take(question.rates.len());
        Answer {
            charge: Charge {
                cost,
                at: now,
                queued: question.max_delay > 0,
                full_at: kept.filter_map(|kept| kept.state.charged_to()).collect(),
            },
            ..answer
        }
    }

    fn peek(&self, question: &Question, now: u128) -> Answer {
        let mut key = self.clone();
        key.fit(&question.rates, now);
        key.weigh(question, now)
    }

    /// What the call would be told, with what is left as it stands.
    fn weigh(&self, question: &Question, now: u128) -> Answer {
        let seen = self.seen(question, now);
        let rates = || seen.iter().zip(&question.rates);
        let allowed = rates().all(|(state, rate)| question.fits(state, rate, now));
        let delays = rates().map(|(state, rate)| state.delay(rate, now));
        let delayed = question.max_delay > 0 && question.cost > 0;
        let outcome = match (allowed, delays.max()) {
            (false, _) => Outcome::Denied,
            (true, Some(delay)) if delayed && delay > 0 => {
                Outcome::AllowedAfter(question.time(delay))
            }
            (true, _) => Outcome::Allowed,
        };
        let quotas = rates().map(|(state, rate)| {
            let retry_after = least(|ticks| question.fits(state, rate, now + ticks));
            question.quota(state, rate, now, retry_after)
        });
        let answer = Answer {
            outcome,
            quotas: quotas.collect(),
            charge: Charge {
                cost: 0,
                at: now,
                queued: false,
                full_at: Vec::new(),
            },
        };
        self.with_charge(answer, 0, question, now)
    }

    fn adjust(&mut self, question: &Question, charge: &Charge, by: i64, now: u128) -> Answer {
        self.fit(&question.rates, now);
        let ask = question.costing(0);
        let wanted = u128::from(by.unsigned_abs());
        let mut charged = charge.clone();
        if by < 0 {
            let units = wanted.min(charge.cost.into());
            for (place, rate) in question.rates.iter().enumerate() {
                let state = &mut self.kept[place].state;
                *state = state.refunded(rate, now, charge, place, units);
            }
            charged.cost -= number(units);
            for (to, rate) in charged.full_at.iter_mut().zip(&question.rates) {
                *to = bucket::less(*to, rate, units);
            }
        } else if by > 0 {
            let left = self.peek(&ask, now).quotas.into_iter();
            let left = left.map(|quota| quota.remaining).min().unwrap_or(0);
            let units = wanted.min(left.into());
            let more = self.decide(&question.costing(units), now).charge;
            if charge.cost == 0 {
                charged = more;
            } else {
                charged.cost = charge.cost.saturating_add(number(units));
                for (to, rate) in charged.full_at.iter_mut().zip(&question.rates) {
                    *to = bucket::more(*to, rate, now, units);
                }
            }
        }
        Answer {
            charge: charged,
            ..self.peek(&ask, now)
        }
    }

    fn is_unused(&self, now: u128) -> bool {
        let mut kept = self.kept.iter();
        kept.all(|kept| kept.state.is_clear(kept.period, now))
    }
}

/// A key under any algorithm.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AnyKey {
    Bucket(Key<Bucket>),
    FixedWindow(Key<FixedWindow>),
    SlidingWindow(Key<Log>),
    SlidingWindowCounter(Key<Counter>),
}

impl Eq for AnyKey {}

macro_rules! under_any {
    ($any:expr, $key:ident => $do:expr) => {
        match $any {
            AnyKey::Bucket($key) => $do,
            AnyKey::FixedWindow($key) => $do,
            AnyKey::SlidingWindow($key) => $do,
            AnyKey::SlidingWindowCounter($key) => $do,
        }
    };
}

impl AnyKey {
    pub(super) fn fresh(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket | Algorithm::Gcra => {
                Self::Bucket(Key::fresh())
            }
            Algorithm::FixedWindow => Self::FixedWindow(Key::fresh()),
            Algorithm::SlidingWindow => Self::SlidingWindow(Key::fresh()),
            Algorithm::SlidingWindowCounter => Self::SlidingWindowCounter(Key::fresh()),
            other => unimplemented!("the model has no {other}"),
        }
    }

    pub(super) fn decide(&mut self, question: &Question, now: u128) -> Answer {
        under_any!(self, key => key.decide(question, now))
    }

    pub(super) fn peek(&self, question: &Question, now: u128) -> Answer {
        under_any!(self, key => key.peek(question, now))
    }

    pub(super) fn adjust(
        &mut self,
        question: &Question,
        charge: &Charge,
        by: i64,
        now: u128,
    ) -> Answer {
        under_any!(self, key => key.adjust(question, charge, by, now))
    }

    pub(super) fn is_unused(&self, now: u128) -> bool {
        under_any!(self, key => key.is_unused(now))
    }
}
