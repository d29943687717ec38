//! [`KeyState`]: everything that is known of one key under one policy, one state for each rate.

use core::time::Duration;

use smallvec::SmallVec;

use super::state::{Asked, Pending, State};
use super::{Algorithm, bucket};
use crate::check::{Adjust, Check};
use crate::clock::Timestamp;
use crate::decision::{Charge, Decision, Outcome};
use crate::limits::{Limit, Limits, MAX_LIMITS};

/// The state of one key under one policy: one state for each of its rates, decided together.
///
/// Time is in nanoseconds. A store that keeps opaque state (this process's memory, anything with
/// compare-and-swap) needs nothing else; a store that decides by itself translates the steps of
/// the [algorithms](super).
///
/// ```
/// use core::time::Duration;
/// use ratelimit_core::{Algorithm, Check, KeyBuf, KeyState, Policy, Timestamp};
///
/// let policy = Policy::new("login", Algorithm::TokenBucket, "2/m".parse()?);
/// let key = KeyBuf::of("alice");
/// let check = Check::new(&policy, policy.limits(), key.as_ref());
/// let mut state = KeyState::fresh(policy.algorithm());
/// let now = Timestamp::from_unix(Duration::from_secs(1_000));
/// assert!(state.decide(&check, now).is_allowed());
/// assert!(state.decide(&check, now).is_allowed());
/// let denied = state.decide(&check, now);
/// assert_eq!((denied.is_allowed(), denied.retry_after()), (false, Duration::from_secs(30)));
/// # Ok::<(), ratelimit_core::RateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    algorithm: Algorithm,
    /// The states of the rates that the last limits had, in their order; behind them, those of rates
    /// that other limits had.
    rates: SmallVec<[Kept; 1]>,
}

/// How many states are kept of rates that the last limits did not have.
const MAX_OTHERS: usize = 4;

/// How many states a key has at most.
pub(super) const MAX_KEPT: usize = MAX_LIMITS + MAX_OTHERS;

/// The state of a rate, and the period by which it is found when the limits change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) period: u64,
    pub(super) state: State,
}

impl KeyState {
    /// The state of a key that was never used.
    pub fn fresh(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            rates: SmallVec::new(),
        }
    }

    /// The state of a key of which one rate is known.
    pub(super) fn of_one(algorithm: Algorithm, kept: Kept) -> Self {
        let mut rates = SmallVec::new();
        rates.push(kept);
        Self { algorithm, rates }
    }

    /// The state of the only rate that is known, if it is only one.
    pub(super) fn only(&self) -> Option<&Kept> {
        match &self.rates[..] {
            [kept] => Some(kept),
            _ => None,
        }
    }

    /// The state of a key of which these rates are known.
    pub(super) fn of(algorithm: Algorithm, rates: SmallVec<[Kept; 1]>) -> Self {
        Self { algorithm, rates }
    }

    /// Every rate that is known.
    pub(super) fn kept(&self) -> &[Kept] {
        &self.rates
    }

    /// The algorithm that the state is of.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Decides the check and charges it if every rate admits it.
    pub fn decide(&mut self, check: &Check<'_>, now: Timestamp) -> Decision {
        self.fit(check.limits, now);
        if let ([Kept { state, .. }, ..], [limit]) = (&mut self.rates[..], check.limits.as_slice())
        {
            // Most policies have one rate, which needs none of the bookkeeping of several.
            let asked = state.ask(limit.terms(), check, now);
            let asked_once = core::slice::from_ref(&asked);
            let decision = answer(self.algorithm, check, now, outcome(asked_once), asked_once);
            state.store(asked);
            return decision;
        }
        let (decision, asked) = self.weigh(check, now, true);
        for (kept, asked) in self.rates.iter_mut().zip(asked) {
            kept.state.store(asked);
        }
        decision
    }

    /// What [`decide`](Self::decide) would answer, with what is left as it stands: nothing is
    /// charged.
    pub fn peek(&self, check: &Check<'_>, now: Timestamp) -> Decision {
        if self.fits(check.limits) {
            return self.weigh(check, now, false).0;
        }
        let mut fitted = self.clone();
        fitted.fit(check.limits, now);
        fitted.weigh(check, now, false).0
    }

    /// Gives back part of an earlier charge (`by` below zero), or charges more, at most to empty.
    ///
    /// What the charge of the answer says is what is then charged in all. It stays as old as it
    /// was: what is added to a charge of a window that is over is not given back.
    pub fn adjust(&mut self, adjust: &Adjust<'_>, now: Timestamp) -> Decision {
        let (check, charge) = (&adjust.check, &adjust.charge);
        self.fit(check.limits, now);
        let by = u32::try_from(adjust.by.unsigned_abs()).unwrap_or(u32::MAX);
        let mut charged = charge.clone();
        if adjust.by < 0 {
            let units = by.min(charge.cost);
            for (rate, limit) in check.limits.as_slice().iter().enumerate() {
                self.rates[rate]
                    .state
                    .refund(limit.terms(), now.as_nanos(), charge, rate, units);
            }
            charged.cost -= units;
            let limits = check.limits.as_slice();
            charged.change_full_at(|rate, to| match limits.get(rate) {
                Some(limit) => bucket::charged_less(to, limit.terms(), units),
                None => to,
            });
        } else if by > 0 {
            let ask = Check {
                cost: 0,
                max_delay: Duration::ZERO,
                ..*check
            };
            let cost = by.min(self.peek(&ask, now).remaining());
            let more = self.decide(&Check { cost, ..ask }, now);
            if charge.cost == 0 {
                charged = more.charge().clone();
            } else {
                // The charge stays as old as it was: what of it expired before must not come back
                // with what is added now.
                charged.cost = charge.cost.saturating_add(cost);
                let limits = check.limits.as_slice();
                charged.change_full_at(|rate, to| match limits.get(rate) {
                    Some(limit) => bucket::charged_more(to, limit.terms(), now.as_nanos(), cost),
                    None => to,
                });
            }
        }
        self.peek(&Check { cost: 0, ..*check }, now)
            .with_charge(charged)
    }

    /// The instant from which this state equals a fresh key's, so that it may be forgotten.
    pub fn fresh_at(&self) -> Timestamp {
        let rates = self.rates.iter();
        let latest = rates.map(|kept| kept.state.fresh_at(kept.period)).max();
        Timestamp::from_nanos(latest.unwrap_or(0))
    }

    /// The newest instant that the state has seen, as far as it can tell: a caller whose clock never
    /// steps back, and that read it before somebody else charged the key, takes this for `now`.
    pub fn newest(&self) -> Timestamp {
        let rates = self.rates.iter();
        let newest = rates.map(|kept| kept.state.newest(kept.period)).max();
        Timestamp::from_nanos(newest.unwrap_or(0))
    }

    /// The same, as far as these limits tell: a bucket never owes more than the time in which it is
    /// filled, and so was charged no longer than that before it is full again. Where a limit was
    /// lowered since, what a bucket owes may lead to a later instant, at which it is empty.
    pub fn newest_under(&self, limits: &Limits) -> Timestamp {
        let limits = limits.as_slice();
        let charged = limits.iter().enumerate().filter_map(|(rate, limit)| {
            let terms = limit.terms();
            // Two rates can have the same period: they go by their order then.
            let before = limits[..rate].iter();
            let before = before.filter(|it| it.terms().period == terms.period);
            let mut kept = self.rates.iter().filter(|it| it.period == terms.period);
            kept.nth(before.count())?.state.charged_since(terms)
        });
        let charged = Timestamp::from_nanos(charged.max().unwrap_or(0));
        self.newest().max(charged)
    }

    /// Moves a state that lies ahead, since the clock stepped back to `now`, to where it is fresh at
    /// `latest`, or for windows at the end of those that are now: it is not to be kept for longer
    /// than it could ever have been.
    pub fn follow_back(&mut self, now: Timestamp, latest: Timestamp) {
        for kept in &mut self.rates {
            kept.state
                .follow_back(kept.period, now.as_nanos(), latest.as_nanos());
        }
    }

    /// Whether the first states are those of these rates.
    fn fits(&self, limits: &Limits) -> bool {
        let limits = limits.as_slice();
        let mut rates = limits.iter().zip(&self.rates);
        self.rates.len() >= limits.len()
            && rates.all(|(limit, kept)| limit.terms().period == kept.period)
    }

    /// Puts the states of these rates first, so that no change of the limits is a fresh budget, and
    /// calls that bring different limits do not undo each other's: a rate goes on with the state of
    /// its period, and one of a period that is new starts from the most used of all.
    fn fit(&mut self, limits: &Limits, now: Timestamp) {
        if self.fits(limits) {
            return;
        }
        let now = now.as_nanos();
        let most_used = self.rates.iter().max_by(|one, other| {
            let used = one
                .state
                .cmp_use(one.period, &other.state, other.period, now);
            used.then(one.period.cmp(&other.period))
        });
        let most_used = most_used.cloned();
        let start = |period| match &most_used {
            Some(kept) => kept.state.carried(kept.period, period, now),
            None => State::fresh(self.algorithm),
        };
        let mut fitted = SmallVec::with_capacity(limits.as_slice().len());
        for limit in limits.as_slice() {
            let period = limit.terms().period;
            let known = self.rates.iter().position(|kept| kept.period == period);
            fitted.push(match known {
                Some(place) => self.rates.remove(place),
                None => Kept {
                    period,
                    state: start(period),
                },
            });
        }
        fitted.extend(self.rates.drain(..).take(MAX_OTHERS));
        self.rates = fitted;
    }

    /// Decides, and says what every rate wants stored. There is one state for each rate.
    fn weigh(
        &self,
        check: &Check<'_>,
        now: Timestamp,
        charge: bool,
    ) -> (Decision, SmallVec<[Asked; MAX_LIMITS]>) {
        let limits = check.limits.as_slice().iter().map(Limit::terms);
        let rates = limits.zip(self.rates.iter().map(|kept| &kept.state));
        let mut asked: SmallVec<[Asked; MAX_LIMITS]> = SmallVec::new();
        for (terms, state) in rates.clone() {
            asked.push(state.ask(terms, check, now));
        }
        let outcome = outcome(&asked);
        if outcome == Outcome::Denied || !charge {
            for ((terms, state), asked) in rates.zip(&mut asked) {
                if asked.2.allowed {
                    // This rate would have admitted the call, but it is not charged.
                    *asked = state.step(terms, now.as_nanos(), 0, 0);
                }
            }
        }
        let check = Check {
            cost: if charge { check.cost } else { 0 },
            ..*check
        };
        let decision = answer(self.algorithm, &check, now, outcome, &asked);
        (decision, asked)
    }
}

/// Denied if any rate denies; and as long a delay as the longest of theirs.
fn outcome(asked: &[Asked]) -> Outcome {
    let mut longest = 0;
    for (_, _, verdict) in asked {
        if !verdict.allowed {
            return Outcome::Denied;
        }
        longest = longest.max(verdict.delay);
    }
    match longest {
        0 => Outcome::Allowed,
        delay => Outcome::AllowedAfter(Duration::from_nanos(delay)),
    }
}

/// The answer to a check of which the cost is charged if it was admitted.
fn answer(
    algorithm: Algorithm,
    check: &Check<'_>,
    at: Timestamp,
    outcome: Outcome,
    asked: &[Asked],
) -> Decision {
    let cost = match outcome {
        Outcome::Denied => 0,
        _ => check.cost,
    };
    let mut charge = Charge::new(at, cost);
    charge.queued = !check.max_delay.is_zero();
    if algorithm.is_bucket() {
        let full_at: SmallVec<[_; MAX_LIMITS]> = asked
            .iter()
            .filter_map(|(pending, ..)| match pending {
                Pending::State(State::Bucket(state) | State::Leaky(state)) => Some(state.full_at),
                _ => None,
            })
            .collect();
        charge = charge.with_full_at(&full_at);
    }
    let verdicts = asked.iter().map(|(_, _, verdict)| verdict);
    Decision::from_verdicts(outcome, algorithm, check.limits, verdicts, charge)
}
