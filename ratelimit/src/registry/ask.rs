//! The plain API: what the attribute does, as functions.

use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Algorithm, Backend, Charge, Check, Decision, Error, ErrorKind, Join, Key, KeyBuf,
    Limits, OwnedCheck, Policy, Source,
};

use super::batch::{Batch, all_answered};
use super::plan::single;
use super::{Entry, Keyed, Question, Registry, Resolved};
use crate::Rejection;

/// One question of the plain API: a policy, a key, and what differs from one unit of the policy's
/// own limits on the default backend.
///
/// ```
/// use ratelimit::{Algorithm, Ask, Policy, Registry, rate};
///
/// static ROWS: Policy = Policy::new("rows", Algorithm::TokenBucket, rate!("1000/h"));
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder().build()?;
/// let decision = registry.ask_blocking(&Ask::new(&ROWS, "alice").cost(250))?;
/// assert_eq!(decision.remaining(), 750);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    policy: &'a Policy,
    key: KeyBuf,
    cost: u32,
    limits: Option<Limits>,
    backend: Option<&'a str>,
    wait: Option<Duration>,
}

impl<'a> Ask<'a> {
    /// One unit, on the default backend. A key of `()`-like meaning, one bucket for all, is
    /// [`Ask::unkeyed`].
    pub fn new<K: Key + ?Sized>(policy: &'a Policy, key: &K) -> Self {
        Self {
            key: KeyBuf::of(key),
            ..Self::unkeyed(policy)
        }
    }

    /// One unit of the policy's one bucket.
    pub fn unkeyed(policy: &'a Policy) -> Self {
        Self {
            policy,
            key: KeyBuf::new(),
            cost: 1,
            limits: None,
            backend: None,
            wait: None,
        }
    }

    /// So many units; 0 is admitted without asking.
    #[must_use]
    pub fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// Other limits than the policy's own, for this call.
    #[must_use]
    pub fn limits(mut self, limits: impl Into<Limits>) -> Self {
        self.limits = Some(limits.into());
        self
    }

    /// Another backend than the default one.
    #[must_use]
    pub fn backend(mut self, name: &'a str) -> Self {
        self.backend = Some(name);
        self
    }

    /// Waits so long for a place before it is rejected; not at all unless this is called. At most one
    /// hour: a longer one is [`Rejection::Unavailable`], as is one under a `leaky_bucket` whose
    /// backend cannot delay calls.
    ///
    /// It is for [`Registry::ask`] and [`Registry::ask_blocking`]. In a batch, where questions would
    /// keep each other waiting, it is refused.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ratelimit::{Algorithm, Ask, Policy, Registry, rate};
    ///
    /// static PAGES: Policy = Policy::new("pages", Algorithm::FixedWindow, rate!("2/50ms"));
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder().build()?;
    /// let ask = Ask::new(&PAGES, "example.org").wait(Duration::from_secs(5));
    /// for page in 0..5 {
    ///     registry.ask_blocking(&ask)?; // the third waits for the next window
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Whether it says that it waits.
    pub(super) fn waits(&self) -> bool {
        self.wait.is_some_and(|wait| !wait.is_zero())
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question {
            key: Keyed::Key(self.key.as_ref()),
            cost: self.cost.into(),
            limits: self.limits.as_ref(),
            fault: None,
        }
    }
}

impl Registry {
    /// Decides one unit of a policy for a key on the default backend: `Ok` when the call may run.
    ///
    /// The policy's override, mode and posture apply as they do to a guarded function.
    pub async fn check<K: Key + ?Sized>(
        &self,
        policy: &Policy,
        key: &K,
    ) -> Result<Decision, Rejection> {
        self.ask(&Ask::new(policy, key)).await
    }

    /// [`check`](Self::check) for a caller that blocks; it never touches an async runtime of the
    /// caller's.
    pub fn check_blocking<K: Key + ?Sized>(
        &self,
        policy: &Policy,
        key: &K,
    ) -> Result<Decision, Rejection> {
        self.ask_blocking(&Ask::new(policy, key))
    }

    /// Decides one question: `Ok` when the call may run.
    ///
    /// It waits for the backend as long as that takes; a backend bounds its own time. (A caller
    /// that blocks is bounded by [`Builder::blocking_timeout`](crate::Builder::blocking_timeout).)
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Decision, Rejection> {
        self.resolve(ask).plan().ask(&ask.question()).await
    }

    /// [`ask`](Self::ask) for a caller that blocks.
    pub fn ask_blocking(&self, ask: &Ask<'_>) -> Result<Decision, Rejection> {
        self.resolve(ask).plan().ask_blocking(&ask.question())
    }

    /// Decides several questions independently, one round trip for each backend: one answer for
    /// each, in order.
    pub async fn check_many(&self, asks: &[Ask<'_>]) -> Vec<Result<Decision, Rejection>> {
        let batch = Batch::new(self, asks);
        let (mut verdicts, groups) = batch.groups(|_| Join::Each);
        for group in groups {
            let answers = group.decide().await;
            batch.conclude(&mut verdicts, &group, answers);
        }
        all_answered(verdicts)
    }

    /// [`check_many`](Self::check_many) for a caller that blocks.
    pub fn check_many_blocking(&self, asks: &[Ask<'_>]) -> Vec<Result<Decision, Rejection>> {
        let batch = Batch::new(self, asks);
        let (mut verdicts, groups) = batch.groups(|_| Join::Each);
        for group in groups {
            let answers = group.decide_blocking(&self.0);
            batch.conclude(&mut verdicts, &group, answers);
        }
        all_answered(verdicts)
    }

    /// Decides several questions as one: all of them are charged, or none is.
    ///
    /// They must be on one backend, which must be able to join them
    /// ([`Capabilities::join`](crate::Capabilities::join)). A policy in shadow mode is decided by
    /// itself and never stands in the way.
    pub async fn check_all(&self, asks: &[Ask<'_>]) -> Result<Vec<Decision>, Rejection> {
        let batch = Batch::new(self, asks);
        let (mut verdicts, groups) = batch.joined_groups()?;
        for group in groups {
            let answers = group.decide().await;
            batch.conclude_joined(&mut verdicts, &group, answers)?;
        }
        all_answered(verdicts).into_iter().collect()
    }

    /// [`check_all`](Self::check_all) for a caller that blocks.
    pub fn check_all_blocking(&self, asks: &[Ask<'_>]) -> Result<Vec<Decision>, Rejection> {
        let batch = Batch::new(self, asks);
        let (mut verdicts, groups) = batch.joined_groups()?;
        for group in groups {
            let answers = group.decide_blocking(&self.0);
            batch.conclude_joined(&mut verdicts, &group, answers)?;
        }
        all_answered(verdicts).into_iter().collect()
    }

    /// What [`ask`](Self::ask) would answer now, with what is left as it stands: nothing is
    /// charged, and nothing waited for. The backend is asked whatever the mode and the posture are.
    pub async fn peek(&self, ask: &Ask<'_>) -> Result<Decision, Error> {
        let (entry, check) = self.for_upkeep(ask)?;
        let check = check.as_check();
        single(entry.backend.peek(&[check]).await).map_err(|error| entry.named(error))
    }

    /// [`peek`](Self::peek) for a caller that blocks.
    pub fn peek_blocking(&self, ask: &Ask<'_>) -> Result<Decision, Error> {
        let (entry, check) = self.for_upkeep(ask)?;
        let checks = [check.as_check()];
        self.0
            .block(&entry, |backend| backend.peek(&checks))
            .and_then(single)
            .map_err(|error| entry.named(error))
    }

    /// Gives back what a decision of this question charged: the same policy, key and limits. A charge
    /// that has expired gives back nothing; give back each at most once.
    pub async fn refund(&self, ask: &Ask<'_>, decision: &Decision) -> Result<(), Error> {
        self.adjust(ask, decision, -i64::from(decision.charge().cost()))
            .await
            .map(drop)
    }

    /// [`refund`](Self::refund) for a caller that blocks.
    pub fn refund_blocking(&self, ask: &Ask<'_>, decision: &Decision) -> Result<(), Error> {
        self.adjust_blocking(ask, decision, -i64::from(decision.charge().cost()))
            .map(drop)
    }

    /// Corrects what a decision of this question charged, by so many units: below zero they are
    /// given back, above zero more is charged, at most to empty. What is charged in all is in the
    /// answer's [charge](Decision::charge).
    pub async fn adjust(
        &self,
        ask: &Ask<'_>,
        decision: &Decision,
        by: i64,
    ) -> Result<Decision, Error> {
        let (entry, check, charge) = match self.for_adjusting(ask, decision, by)? {
            Ok(decided) => return Ok(decided),
            Err(adjust) => adjust,
        };
        let adjust = Adjust::new(check.as_check(), charge, by);
        single(entry.backend.adjust(&[adjust]).await).map_err(|error| entry.named(error))
    }

    /// [`adjust`](Self::adjust) for a caller that blocks.
    pub fn adjust_blocking(
        &self,
        ask: &Ask<'_>,
        decision: &Decision,
        by: i64,
    ) -> Result<Decision, Error> {
        let (entry, check, charge) = match self.for_adjusting(ask, decision, by)? {
            Ok(decided) => return Ok(decided),
            Err(adjust) => adjust,
        };
        let adjusts = [Adjust::new(check.as_check(), charge, by)];
        self.0
            .block(&entry, |backend| backend.adjust(&adjusts))
            .and_then(single)
            .map_err(|error| entry.named(error))
    }

    /// Makes the key of this question fresh in its backend. What a fallback to this process's memory
    /// has counted stays, as does what a full memory backend counts for several keys together.
    pub async fn reset(&self, ask: &Ask<'_>) -> Result<(), Error> {
        let (entry, check) = self.for_upkeep(ask)?;
        let check = check.as_check();
        entry
            .backend
            .reset(&[check])
            .await
            .map_err(|error| entry.named(error))
    }

    /// [`reset`](Self::reset) for a caller that blocks.
    pub fn reset_blocking(&self, ask: &Ask<'_>) -> Result<(), Error> {
        let (entry, check) = self.for_upkeep(ask)?;
        let checks = [check.as_check()];
        self.0
            .block(&entry, |backend| backend.reset(&checks))
            .flatten()
            .map_err(|error| entry.named(error))
    }

    pub(super) fn resolve(&self, ask: &Ask<'_>) -> Resolved {
        let limits = ask.limits.as_ref().unwrap_or(ask.policy.limits());
        let dynamic = ask.limits.is_some();
        self.0
            .resolve(ask.policy, Some(limits), ask.backend, dynamic, ask.wait, 0)
    }

    /// The backend and the check of a question that is not to decide anything.
    fn for_upkeep(&self, ask: &Ask<'_>) -> Result<(Arc<Entry>, OwnedCheck), Error> {
        let resolved = self.resolve(ask);
        if let Some(fault) = resolved.fault {
            return Err(fault);
        }
        let limits = match &ask.limits {
            Some(limits) if resolved.dynamic => limits,
            _ => resolved.policy.limits(),
        };
        let mut check = Check::new(&resolved.policy, limits, ask.key.as_ref()).with_cost(ask.cost);
        if resolved.policy.algorithm() == Algorithm::LeakyBucket {
            check = check.with_max_delay(resolved.wait);
        }
        let check = check.to_owned();
        match resolved.entry {
            Some(entry) => Ok((entry, check)),
            None => Err(Error::new(ErrorKind::Configuration, "no backend")),
        }
    }

    /// Where to adjust, or the answer where there is nothing to adjust.
    #[allow(clippy::type_complexity)] // three things that are only used together, twice
    fn for_adjusting(
        &self,
        ask: &Ask<'_>,
        decision: &Decision,
        by: i64,
    ) -> Result<Result<Decision, (Arc<Entry>, OwnedCheck, Charge)>, Error> {
        match decision.source() {
            Source::Open | Source::Unlimited => return Ok(Ok(decision.clone())),
            Source::Local => {
                let (_, check) = self.for_upkeep(ask)?;
                let adjust = Adjust::new(check.as_check(), decision.charge().clone(), by);
                let backend: &dyn Backend = self.0.local();
                let answers = crate::bridge::poll_now(backend.adjust(&[adjust]))?;
                return single(answers).map(Ok);
            }
            _ => {}
        }
        let (entry, check) = self.for_upkeep(ask)?;
        let algorithm = ask.policy.algorithm();
        if !entry.backend.capabilities().refund.contains(algorithm) {
            let message = format!("it cannot correct what a `{algorithm}` has charged");
            return Err(entry.named(Error::new(ErrorKind::Unsupported, message)));
        }
        Ok(Err((entry, check, decision.charge().clone())))
    }
}

impl Entry {
    fn named(&self, error: Error) -> Error {
        error.with_backend(self.name.clone())
    }
}
