//! The reference model: each algorithm in its most obvious form, to judge backends by.
//!
//! It shares the vocabulary of `ratelimit-core` (limits, checks, quotas) and none of its arithmetic.
//! Numbers are 128-bit integers, time is a count of ticks, and what an answer promises is found from
//! its definition: `remaining` is the largest cost that fits, `retry_after` the least number of ticks
//! after which the same call alone fits, `reset_after` the least after which nothing is in use. An
//! algorithm only has to say whether a cost fits at an instant.
//!
//! # The rules
//!
//! **One rate.** Costs are whole units; a cost of zero always fits and charges nothing.
//! - *Buckets* (`token_bucket`, `gcra`, `leaky_bucket`): see [`bucket`].
//! - *`fixed_window`*: see [`fixed_window`].
//! - *`sliding_window`*: see [`sliding_window`].
//! - *`sliding_window_counter`*: see [`sliding_window_counter`].
//!
//! **Several rates** are one decision: each admits the call, or none is charged. On a denial the
//! rates that would have admitted it say a `retry_after` of zero.
//!
//! **What is stored.** A denial, or a cost of zero, stores nothing, except that a state that lies
//! ahead of what its policy could ever reach is stored as it is seen (the clock stepped back, or the
//! limit was lowered). A peek stores nothing.
//!
//! **Changed limits.** A rate is known by its period, and goes on with the state of its period (of
//! several rates of one period, each with the first state that is not taken yet). A rate whose period
//! is new starts from the state that is used most at that instant, each seen under its own period;
//! of equal ones, from that of the longest period; each algorithm says what it starts with. States of
//! periods that the limits do not have are kept behind those that they have, in their order, four of
//! them. Limits whose rates are the first of the kept ones already change nothing. This happens when
//! a check is decided or adjusted, denied or not; a peek only looks.
//!
//! **Corrections.** Giving back is up to each algorithm, and at most what was charged. Charging more
//! is a check of as many units as fit, at most those asked for. The charge stays as old as it was. A
//! correction brings the limits that the call was charged with.
//!
//! **Batches.** [`Join::Each`] is one check after the other. [`Join::All`] is that, too, as long as
//! every check is admitted. Otherwise everything is as it was, and the first check that was denied
//! says what it said; all others say what they would by themselves, with the outcome `Denied`. If any
//! cost is above the capacity, none is decided: all others say what they would by themselves.
//!
//! **Forgetting.** A key whose states are all unused may be forgotten at any time, or not. It makes a
//! difference only when the clock steps back or the limits change afterwards; both answers are right.
//! [`Model::is_unused`] and [`Model::reset`] let a judge follow either.

pub mod bucket;
pub mod fixed_window;
mod key;
mod rate;
pub mod sliding_window;
pub mod sliding_window_counter;

use std::collections::BTreeMap;

use ratelimit_core::{Algorithm, Check, Join, Outcome, Quota, Timestamp};

pub use key::Charge;
use key::{AnyKey, Question};

/// What a backend should answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the call may run, and when.
    pub outcome: Outcome,
    /// What each rate says, shortest period first.
    pub quotas: Vec<Quota>,
    /// What was charged.
    pub charge: Charge,
}

impl Answer {
    /// Whether the call may run, at once or later.
    pub fn is_allowed(&self) -> bool {
        self.outcome != Outcome::Denied
    }

    fn denied(self) -> Self {
        let outcome = Outcome::Denied;
        Self { outcome, ..self }
    }
}

/// Why a backend should refuse to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The cost is above the capacity.
    Unsatisfiable,
}

/// An answer, or why there is none.
pub type Expected = Result<Answer, Refusal>;

/// Whose budget it is: the policy's name and algorithm, and the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    policy: String,
    algorithm: &'static str,
    key: Vec<u8>,
}

impl Owner {
    /// Whose budget a check asks for.
    pub fn of(check: &Check<'_>) -> Self {
        Self {
            policy: check.policy.name().to_owned(),
            algorithm: check.policy.algorithm().name(),
            key: check.key.as_bytes().to_vec(),
        }
    }
}

/// A store of budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Nanoseconds.
    tick: u128,
    keys: BTreeMap<Owner, AnyKey>,
}

impl Model {
    /// An empty store whose clock has ticks of so many nanoseconds.
    pub fn new(tick: u64) -> Self {
        Self {
            tick: u128::from(tick.max(1)),
            keys: BTreeMap::new(),
        }
    }

    /// Decides, and charges what is admitted.
    pub fn decide(&mut self, checks: &[Check<'_>], join: Join, now: Timestamp) -> Vec<Expected> {
        if join == Join::Each {
            return checks.iter().map(|check| self.one(check, now)).collect();
        }
        let before = self.clone();
        let refused = checks.iter().any(is_unsatisfiable);
        let answers: Vec<_> = checks.iter().map(|check| self.one(check, now)).collect();
        let denies = |answer: &Expected| !answer.as_ref().is_ok_and(Answer::is_allowed);
        let Some(first) = answers.iter().position(denies) else {
            return answers;
        };
        *self = before;
        let mut alone: Vec<_> = self
            .peek(checks, now)
            .into_iter()
            .map(|answer| answer.map(Answer::denied))
            .collect();
        if !refused {
            alone[first].clone_from(&answers[first]);
        }
        alone
    }

    /// What a decision of each by itself would say, with what is left as it stands.
    pub fn peek(&self, checks: &[Check<'_>], now: Timestamp) -> Vec<Expected> {
        let peek = |check: &Check<'_>| {
            if is_unsatisfiable(check) {
                return Err(Refusal::Unsatisfiable);
            }
            let question = Question::new(check, self.tick);
            Ok(self.key(check).peek(&question, self.ticks(now)))
        };
        checks.iter().map(peek).collect()
    }

    /// Gives back of a charge (`by` below zero), or charges more.
    pub fn adjust(
        &mut self,
        check: &Check<'_>,
        charge: &Charge,
        by: i64,
        now: Timestamp,
    ) -> Answer {
        let now = self.ticks(now);
        let mut key = self.key(check);
        let answer = key.adjust(&Question::new(check, self.tick), charge, by, now);
        self.keys.insert(Owner::of(check), key);
        answer
    }

    /// Makes the key of that owner fresh.
    pub fn reset(&mut self, owner: &Owner) {
        self.keys.remove(owner);
    }

    /// Whether the key of that owner is known, and nothing of it is in use.
    pub fn is_unused(&self, owner: &Owner, now: Timestamp) -> bool {
        let key = self.keys.get(owner);
        key.is_some_and(|key| key.is_unused(self.ticks(now)))
    }

    /// A store that knows the keys of both.
    pub fn and(mut self, other: &Self) -> Self {
        let others = other.keys.iter();
        self.keys
            .extend(others.map(|(owner, key)| (owner.clone(), key.clone())));
        self
    }

    /// A store that knows only that key.
    pub fn only(&self, owner: &Owner) -> Self {
        let key = self.keys.get_key_value(owner);
        Self {
            tick: self.tick,
            keys: key
                .into_iter()
                .map(|(o, k)| (o.clone(), k.clone()))
                .collect(),
        }
    }

    fn one(&mut self, check: &Check<'_>, now: Timestamp) -> Expected {
        if is_unsatisfiable(check) {
            return Err(Refusal::Unsatisfiable);
        }
        let mut key = self.key(check);
        let answer = key.decide(&Question::new(check, self.tick), self.ticks(now));
        self.keys.insert(Owner::of(check), key);
        Ok(answer)
    }

    fn key(&self, check: &Check<'_>) -> AnyKey {
        let known = self.keys.get(&Owner::of(check)).cloned();
        known.unwrap_or_else(|| AnyKey::fresh(check.policy.algorithm()))
    }

    fn ticks(&self, at: Timestamp) -> u128 {
        u128::from(at.as_nanos()) / self.tick
    }
}

fn is_unsatisfiable(check: &Check<'_>) -> bool {
    let algorithm = check.policy.algorithm();
    let buckets = matches!(
        algorithm,
        Algorithm::TokenBucket | Algorithm::LeakyBucket | Algorithm::Gcra
    );
    let limits = check.limits.as_slice().iter();
    limits
        .map(|limit| match limit.burst() {
            Some(burst) if buckets => burst,
            _ => limit.rate().limit(),
        })
        .any(|capacity| check.cost > capacity)
}

#[cfg(test)]
mod tests;
