//! The plain API: what the attribute does, as functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Answers, BoxFuture, Charge, Check, Decision, Error, ErrorKind, Join, JoinScope, Key,
    KeyBuf, Limits, Mode, OwnedCheck, Policy, Source,
};

use super::plan::{Plan, decide_owned, miscounted, single};
use super::{Entry, Keyed, Question, Registry, Resolved, unlimited};
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

    fn question(&self) -> Question<'_> {
        Question {
            key: Keyed::Key(self.key.as_ref()),
            cost: self.cost.into(),
            limits: self.limits.as_ref(),
            fault: None,
        }
    }
}

/// Several questions, each with what it resolved to.
struct Batch<'a> {
    asks: &'a [Ask<'a>],
    resolved: Vec<Resolved>,
}

/// The questions of a batch that one backend answers in one go.
struct Group {
    entry: Arc<Entry>,
    /// Which question of the batch each check is.
    places: Vec<usize>,
    checks: Vec<OwnedCheck>,
    join: Join,
}

impl Group {
    /// The answers, one for each check whatever the backend does.
    fn complete(&self, answers: Result<Answers, Error>) -> Answers {
        let error = match answers {
            Ok(answers) if answers.len() == self.checks.len() => return answers,
            Ok(answers) => miscounted(answers.len(), self.checks.len()),
            Err(error) => error,
        };
        self.checks.iter().map(|_| Err(error.clone())).collect()
    }
}

type Verdict = Result<Decision, Rejection>;

impl<'a> Batch<'a> {
    fn new(registry: &Registry, asks: &'a [Ask<'a>]) -> Self {
        Self {
            asks,
            resolved: asks.iter().map(|ask| registry.resolve(ask)).collect(),
        }
    }

    /// Sorts the questions by backend; those that need no backend are answered at once.
    fn groups(&self, join: impl Fn(Mode) -> Join) -> (Vec<Option<Verdict>>, Vec<Group>) {
        let mut verdicts = Vec::with_capacity(self.asks.len());
        let mut groups = BTreeMap::<(&str, bool), Group>::new();
        for (place, (ask, resolved)) in self.asks.iter().zip(&self.resolved).enumerate() {
            let plan = resolved.plan();
            match plan.prepare(&ask.question()) {
                Err(early) => verdicts.push(Some(plan.apply_mode(early))),
                Ok((entry, check)) => {
                    verdicts.push(None);
                    let join = join(plan.mode());
                    let group = groups
                        .entry((&entry.name, join == Join::All))
                        .or_insert_with(|| {
                            let entry = Arc::clone(entry);
                            Group {
                                entry,
                                places: Vec::new(),
                                checks: Vec::new(),
                                join,
                            }
                        });
                    group.places.push(place);
                    group.checks.push(check.to_owned());
                }
            }
        }
        (verdicts, groups.into_values().collect())
    }

    fn plan(&self, place: usize) -> Plan<'_> {
        self.resolved[place].plan()
    }

    /// Puts a group's answers where they belong.
    fn conclude(&self, verdicts: &mut [Option<Verdict>], group: &Group, answers: Answers) {
        for ((place, check), answer) in group.places.iter().zip(&group.checks).zip(answers) {
            let plan = self.plan(*place);
            let verdict = plan.apply_mode(plan.conclude(&check.as_check(), answer));
            verdicts[*place] = Some(verdict);
        }
    }
}

fn all_answered(verdicts: Vec<Option<Verdict>>) -> Vec<Verdict> {
    // Each place is in exactly one group, or was answered before.
    verdicts
        .into_iter()
        .map(|verdict| verdict.unwrap_or_else(|| Ok(unlimited())))
        .collect()
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
            let answers = decide_group(&group).await;
            batch.conclude(&mut verdicts, &group, answers);
        }
        all_answered(verdicts)
    }

    /// [`check_many`](Self::check_many) for a caller that blocks.
    pub fn check_many_blocking(&self, asks: &[Ask<'_>]) -> Vec<Result<Decision, Rejection>> {
        let batch = Batch::new(self, asks);
        let (mut verdicts, groups) = batch.groups(|_| Join::Each);
        for group in groups {
            let answers = self.decide_group_blocking(&group);
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
        let (mut verdicts, groups) = batch.groups(joined);
        may_join(&verdicts, &groups)?;
        for group in groups {
            let answers = decide_group(&group).await;
            batch.conclude_joined(&mut verdicts, &group, answers)?;
        }
        all_answered(verdicts).into_iter().collect()
    }

    /// [`check_all`](Self::check_all) for a caller that blocks.
    pub fn check_all_blocking(&self, asks: &[Ask<'_>]) -> Result<Vec<Decision>, Rejection> {
        let batch = Batch::new(self, asks);
        let (mut verdicts, groups) = batch.groups(joined);
        may_join(&verdicts, &groups)?;
        for group in groups {
            let answers = self.decide_group_blocking(&group);
            batch.conclude_joined(&mut verdicts, &group, answers)?;
        }
        all_answered(verdicts).into_iter().collect()
    }

    /// What [`ask`](Self::ask) would answer now, with what is left as it stands: nothing is
    /// charged.
    pub async fn peek(&self, ask: &Ask<'_>) -> Result<Decision, Error> {
        let (entry, check) = self.for_upkeep(ask)?;
        let check = check.as_check();
        single(entry.backend.peek(&[check]).await).map_err(|error| entry.named(error))
    }

    /// [`peek`](Self::peek) for a caller that blocks.
    pub fn peek_blocking(&self, ask: &Ask<'_>) -> Result<Decision, Error> {
        let (entry, check) = self.for_upkeep(ask)?;
        let work = move |backend: Arc<dyn ratelimit_core::Backend>| -> BoxFuture<'static, _> {
            Box::pin(async move { backend.peek(&[check.as_check()]).await })
        };
        self.0
            .block(&entry, work)
            .and_then(single)
            .map_err(|error| entry.named(error))
    }

    /// Gives back what a decision of this question charged. A charge that has expired gives back
    /// nothing; give back each at most once.
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
        let work = move |backend: Arc<dyn ratelimit_core::Backend>| -> BoxFuture<'static, _> {
            Box::pin(async move {
                backend
                    .adjust(&[Adjust::new(check.as_check(), charge, by)])
                    .await
            })
        };
        self.0
            .block(&entry, work)
            .and_then(single)
            .map_err(|error| entry.named(error))
    }

    /// Makes the key of this question fresh.
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
        let work = move |backend: Arc<dyn ratelimit_core::Backend>| -> BoxFuture<'static, _> {
            Box::pin(async move { backend.reset(&[check.as_check()]).await })
        };
        self.0
            .block(&entry, work)
            .flatten()
            .map_err(|error| entry.named(error))
    }

    fn resolve(&self, ask: &Ask<'_>) -> Resolved {
        let limits = ask.limits.as_ref().unwrap_or(ask.policy.limits());
        let dynamic = ask.limits.is_some();
        self.0
            .resolve(ask.policy, Some(limits), ask.backend, dynamic, 0)
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
        let check = Check::new(&resolved.policy, limits, ask.key.as_ref()).with_cost(ask.cost);
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
                let backend: &dyn ratelimit_core::Backend = self.0.local();
                let answers = crate::bridge::poll_now(backend.adjust(&[adjust]))?;
                return single(answers).map(Ok);
            }
            _ => {}
        }
        let (entry, check) = self.for_upkeep(ask)?;
        Ok(Err((entry, check, decision.charge().clone())))
    }

    fn decide_group_blocking(&self, group: &Group) -> Answers {
        let (checks, join) = (group.checks.clone(), group.join);
        let work = move |backend| -> BoxFuture<'static, _> {
            Box::pin(decide_owned(backend, checks, join))
        };
        group.complete(self.0.block(&group.entry, work))
    }
}

async fn decide_group(group: &Group) -> Answers {
    let checks: Vec<_> = group.checks.iter().map(OwnedCheck::as_check).collect();
    group.complete(Ok(group.entry.backend.decide(&checks, group.join).await))
}

/// A policy in shadow mode must not stand in the way of the others.
fn joined(mode: Mode) -> Join {
    match mode {
        Mode::Shadow => Join::Each,
        _ => Join::All,
    }
}

/// Whether the questions can be one decision.
fn may_join(verdicts: &[Option<Verdict>], groups: &[Group]) -> Result<(), Rejection> {
    if let Some(Err(rejection)) = verdicts.iter().flatten().find(|verdict| verdict.is_err()) {
        return Err(rejection.clone());
    }
    let refuse = |message: String| {
        Err(Rejection::Unavailable(Error::new(
            ErrorKind::Unsupported,
            message,
        )))
    };
    let mut joined = groups.iter().filter(|group| group.join == Join::All);
    let Some(group) = joined.next() else {
        return Ok(());
    };
    if let Some(other) = joined.next() {
        let (one, other) = (&group.entry.name, &other.entry.name);
        return refuse(format!(
            "backends `{one}` and `{other}` cannot make one decision together"
        ));
    }
    let alone = group.checks.len() == 1;
    if !alone && group.entry.backend.capabilities().join == JoinScope::OneKey {
        let name = &group.entry.name;
        return refuse(format!(
            "backend `{name}` cannot make one decision of several keys"
        ));
    }
    Ok(())
}

impl Batch<'_> {
    /// Puts the answers of a group that was one decision where they belong, or says which of them
    /// stood in the way: a failure before a denial, and of denials the longest.
    fn conclude_joined(
        &self,
        verdicts: &mut [Option<Verdict>],
        group: &Group,
        answers: Answers,
    ) -> Result<(), Rejection> {
        let failed = answers.iter().any(Result::is_err);
        if group.join == Join::All && !failed {
            let denials = answers
                .iter()
                .flatten()
                .filter(|decision| !decision.is_allowed());
            if let Some(longest) = denials.max_by_key(|decision| decision.retry_after()) {
                return Err(Rejection::Limited(longest.clone()));
            }
        }
        for ((place, check), answer) in group.places.iter().zip(&group.checks).zip(answers) {
            if failed && group.join == Join::All && answer.is_ok() {
                // Denied only because another check failed; that one's posture decides.
                verdicts[*place] = Some(Ok(unlimited()));
                continue;
            }
            let plan = self.plan(*place);
            let verdict = plan.apply_mode(plan.conclude(&check.as_check(), answer));
            verdicts[*place] = Some(Ok(verdict?));
        }
        Ok(())
    }
}

impl Entry {
    fn named(&self, error: Error) -> Error {
        error.with_backend(self.name.clone())
    }
}
