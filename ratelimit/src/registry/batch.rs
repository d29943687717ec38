//! Several questions at once: sorted by backend, asked, and their answers put where they belong.

use std::collections::BTreeMap;
use std::sync::Arc;

use ratelimit_core::{
    Answers, Decision, Error, ErrorKind, Join, JoinScope, Mode, OwnedCheck, Source,
};

use super::plan::{Fallback, Plan, miscounted, unasked_delay};
use super::{Ask, Entry, Inner, Registry, Resolved, unlimited};
use crate::Rejection;

/// Several questions, each with what it resolved to.
pub(super) struct Batch<'a> {
    registry: &'a Inner,
    asks: &'a [Ask<'a>],
    resolved: Vec<Resolved>,
}

/// The questions of a batch that one backend answers in one go.
pub(super) struct Group {
    entry: Arc<Entry>,
    /// Which question of the batch each check is.
    places: Vec<usize>,
    checks: Vec<OwnedCheck>,
    join: Join,
}

impl Group {
    pub(super) async fn decide(&self) -> Answers {
        let checks: Vec<_> = self.checks.iter().map(OwnedCheck::as_check).collect();
        self.complete(Ok(self.entry.backend.decide(&checks, self.join).await))
    }

    pub(super) fn decide_blocking(&self, registry: &Inner) -> Answers {
        let checks: Vec<_> = self.checks.iter().map(OwnedCheck::as_check).collect();
        self.complete(registry.block(&self.entry, |backend| backend.decide(&checks, self.join)))
    }

    /// The answers, one for each check whatever the backend does.
    fn complete(&self, answers: Result<Answers, Error>) -> Answers {
        let error = match answers {
            Ok(answers) if answers.len() == self.checks.len() => {
                let checks = self.checks.iter().map(OwnedCheck::as_check);
                let answers = checks.zip(answers);
                return answers
                    .map(|(check, answer)| unasked_delay(&check, answer))
                    .collect();
            }
            Ok(answers) => miscounted(answers.len(), self.checks.len()),
            Err(error) => error,
        };
        self.checks.iter().map(|_| Err(error.clone())).collect()
    }
}

pub(super) type Verdict = Result<Decision, Rejection>;

impl<'a> Batch<'a> {
    pub(super) fn new(registry: &'a Registry, asks: &'a [Ask<'a>]) -> Self {
        Self {
            registry: &registry.0,
            asks,
            resolved: asks.iter().map(|ask| registry.resolve(ask)).collect(),
        }
    }

    /// Sorts the questions by backend, those first that are one decision; those that need no
    /// backend are answered at once.
    pub(super) fn groups(&self, join: impl Fn(Mode) -> Join) -> (Vec<Option<Verdict>>, Vec<Group>) {
        let mut verdicts = Vec::with_capacity(self.asks.len());
        let mut groups = BTreeMap::<(bool, &str), Group>::new();
        for (place, (ask, resolved)) in self.asks.iter().zip(&self.resolved).enumerate() {
            let plan = resolved.plan();
            if ask.waits() {
                verdicts.push(Some(Err(Rejection::Unavailable(no_waiting()))));
                continue;
            }
            match plan.prepare(&ask.question()) {
                Err(early) => verdicts.push(Some(plan.apply_mode(early))),
                Ok((entry, check)) => {
                    verdicts.push(None);
                    let join = join(plan.mode());
                    let group = groups
                        .entry((join == Join::Each, &entry.name))
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

    /// The same for questions that are to be one decision, if they can be one.
    pub(super) fn joined_groups(&self) -> Result<(Vec<Option<Verdict>>, Vec<Group>), Rejection> {
        let (verdicts, groups) = self.groups(joined);
        may_join(&verdicts, &groups)?;
        Ok((verdicts, groups))
    }

    fn plan(&self, place: usize) -> Plan<'_> {
        self.resolved[place].plan()
    }

    /// Puts a group's answers where they belong.
    pub(super) fn conclude(
        &self,
        verdicts: &mut [Option<Verdict>],
        group: &Group,
        answers: Answers,
    ) {
        for ((place, check), answer) in group.places.iter().zip(&group.checks).zip(answers) {
            let plan = self.plan(*place);
            let verdict = plan.apply_mode(plan.conclude(&check.as_check(), answer));
            verdicts[*place] = Some(verdict);
        }
    }

    /// Puts the answers of a group that was one decision where they belong, or says which of them
    /// stood in the way: a failure before a denial, and of denials the longest.
    pub(super) fn conclude_joined(
        &self,
        verdicts: &mut [Option<Verdict>],
        group: &Group,
        answers: Answers,
    ) -> Result<(), Rejection> {
        if group.join == Join::Each {
            self.conclude(verdicts, group, answers);
            return Ok(());
        }
        if answers.iter().all(Result::is_ok) {
            let decisions = answers.into_iter().flatten().collect();
            return put(verdicts, group.places.iter().copied(), decisions);
        }
        // A denial without a wait is because of the others; their postures decide.
        let (mut places, mut checks, mut denials) = (Vec::new(), Vec::new(), Vec::new());
        for ((place, check), answer) in group.places.iter().zip(&group.checks).zip(answers) {
            let check = check.as_check();
            let fallback = match answer {
                Err(error) => self.plan(*place).fall_back(&check, error)?,
                Ok(decision) if decision.is_allowed() => {
                    verdicts[*place] = Some(Ok(decision));
                    continue;
                }
                Ok(decision) if !decision.retry_after().is_zero() => {
                    denials.push(decision);
                    continue;
                }
                Ok(_) => Fallback::Run,
            };
            match fallback {
                Fallback::Run => {
                    verdicts[*place] = Some(Ok(Decision::unlimited(Source::Open)));
                }
                Fallback::Local => {
                    places.push(*place);
                    checks.push(check);
                }
            }
        }
        put(verdicts, [], denials)?;
        put(verdicts, places, self.registry.decide_all_locally(&checks)?)
    }
}

/// Puts decisions that are one where they belong, or says which stood in the way longest.
fn put(
    verdicts: &mut [Option<Verdict>],
    places: impl IntoIterator<Item = usize>,
    decisions: Vec<Decision>,
) -> Result<(), Rejection> {
    let denials = decisions.iter().filter(|decision| !decision.is_allowed());
    if let Some(longest) = denials.max_by_key(|decision| decision.retry_after()) {
        return Err(Rejection::Limited(longest.clone()));
    }
    for (place, decision) in places.into_iter().zip(decisions) {
        verdicts[place] = Some(Ok(decision));
    }
    Ok(())
}

pub(super) fn all_answered(verdicts: Vec<Option<Verdict>>) -> Vec<Verdict> {
    // Each place is in exactly one group, or was answered before.
    verdicts
        .into_iter()
        .map(|verdict| verdict.unwrap_or_else(|| Ok(unlimited())))
        .collect()
}

fn no_waiting() -> Error {
    let message = "a question of a batch cannot wait for a place: the others would wait with it; \
                   ask it by itself, or without `wait`";
    Error::new(ErrorKind::Configuration, message)
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
