//! [`Follower`]: compares what a backend answers with what the model does.
//!
//! The model leaves one thing open: a key of which nothing is in use may be forgotten, or not. So
//! there can be several models of a key that agree with everything seen so far; the backend is wrong
//! when none is left.

use core::fmt::Write;
use std::collections::{BTreeMap, BTreeSet};

use ratelimit_core::{Check, Decision, Error, ErrorKind, Join, Quota, Source, Timestamp};

use crate::model::{Charge, Expected, Model, Owner, Refusal};

/// What may be true of one key, and what was charged for it, by the numbers of the charges.
#[derive(Clone, Debug, PartialEq)]
struct World {
    model: Model,
    charges: BTreeMap<usize, Charge>,
}

/// Everything that may be true of a store, given what its backend said.
#[derive(Clone, Debug)]
pub struct Follower {
    tick: u64,
    /// Each key's by itself, as keys have nothing to do with each other.
    worlds: BTreeMap<Owner, Vec<World>>,
    decided: usize,
}

type Answer = Result<Decision, Error>;

impl Follower {
    /// Nothing has happened yet, on a store whose clock has ticks of so many nanoseconds.
    pub fn new(tick: u64) -> Self {
        Self {
            tick,
            worlds: BTreeMap::new(),
            decided: 0,
        }
    }

    /// The backend decided. What is wrong with it, if anything is.
    ///
    /// The charges are numbered from zero, in the order of all checks.
    pub fn decided(
        &mut self,
        checks: &[Check<'_>],
        join: Join,
        now: Timestamp,
        answers: &[Answer],
    ) -> Result<(), String> {
        if join == Join::All {
            return self.decided_together(checks, now, answers);
        }
        counted(checks, answers)?;
        for (check, answer) in checks.iter().zip(answers) {
            let number = self.decided;
            self.follow(check, now, answer, |world| {
                let expected = world.model.decide(&[*check], join, now).swap_remove(0);
                world.keep(number, &expected);
                expected
            })?;
            self.decided += 1;
        }
        Ok(())
    }

    /// One decision of several keys is about all of them: everything that may be true of one can be
    /// true together with everything that may be true of another.
    fn decided_together(
        &mut self,
        checks: &[Check<'_>],
        now: Timestamp,
        answers: &[Answer],
    ) -> Result<(), String> {
        let first = self.decided;
        self.decided += checks.len();
        let owners: BTreeSet<_> = checks.iter().map(Owner::of).collect();
        let owners: Vec<_> = owners
            .into_iter()
            .map(|owner| (self.numbers(&owner, checks, first), owner))
            .collect();
        let mut together = vec![World::new(self.tick)];
        for (_, owner) in &owners {
            let alone = self.possible(owner, now);
            let pairs = together
                .iter()
                .flat_map(|one| alone.iter().map(|other| one.and(other)));
            together = pairs.collect();
        }
        let agree = agreeing(together, answers, |world| {
            let expected = world.model.decide(checks, Join::All, now);
            for (number, expected) in (first..).zip(&expected) {
                world.keep(number, expected);
            }
            expected
        })?;
        for (numbers, owner) in owners {
            let alone = agree.iter().map(|world| world.only(&owner, &numbers));
            let alone = distinct(alone);
            self.worlds.insert(owner, alone);
        }
        Ok(())
    }

    /// The numbers of this owner's charges, those of a batch that starts at `first` included.
    fn numbers(&self, owner: &Owner, checks: &[Check<'_>], first: usize) -> Vec<usize> {
        let before = self.worlds.get(owner).into_iter().flatten();
        let before = before.flat_map(|world| world.charges.keys().copied());
        let batch = (first..)
            .zip(checks)
            .filter(|(_, check)| Owner::of(check) == *owner);
        before.chain(batch.map(|(number, _)| number)).collect()
    }

    /// The backend was peeked at.
    pub fn peeked(
        &mut self,
        checks: &[Check<'_>],
        now: Timestamp,
        answers: &[Answer],
    ) -> Result<(), String> {
        counted(checks, answers)?;
        for (check, answer) in checks.iter().zip(answers) {
            self.follow(check, now, answer, |world| {
                world.model.peek(&[*check], now).swap_remove(0)
            })?;
        }
        Ok(())
    }

    /// The backend corrected the charge of that number by so many units. It stays known by it.
    pub fn adjusted(
        &mut self,
        check: &Check<'_>,
        number: usize,
        by: i64,
        now: Timestamp,
        answer: &Answer,
    ) -> Result<(), String> {
        self.follow(check, now, answer, |world| {
            let charge = world.charges[&number].clone();
            let expected = Ok(world.model.adjust(check, &charge, by, now));
            world.keep(number, &expected);
            expected
        })
    }

    /// The backend made keys fresh.
    pub fn reset(&mut self, checks: &[Check<'_>]) {
        for check in checks {
            let owner = Owner::of(check);
            let worlds = self.worlds.get_mut(&owner);
            for world in worlds.into_iter().flatten() {
                world.model.reset(&owner);
            }
        }
    }

    fn follow(
        &mut self,
        check: &Check<'_>,
        now: Timestamp,
        answer: &Answer,
        mut act: impl FnMut(&mut World) -> Expected,
    ) -> Result<(), String> {
        let owner = Owner::of(check);
        let possible = self.possible(&owner, now);
        let answer = core::slice::from_ref(answer);
        let agree = agreeing(possible, answer, |world| vec![act(world)])?;
        self.worlds.insert(owner, agree);
        Ok(())
    }

    /// Time has passed: every key of which nothing is in use may have been forgotten.
    pub fn reached(&mut self, now: Timestamp) {
        for (owner, worlds) in &mut self.worlds {
            forget(worlds, owner, now);
        }
    }

    /// Takes out what may be true of a key.
    fn possible(&mut self, owner: &Owner, now: Timestamp) -> Vec<World> {
        let known = self.worlds.remove(owner);
        let mut worlds = known.unwrap_or_else(|| vec![World::new(self.tick)]);
        forget(&mut worlds, owner, now);
        worlds
    }
}

/// If nothing of a key is in use, it may have been forgotten.
fn forget(worlds: &mut Vec<World>, owner: &Owner, now: Timestamp) {
    for index in 0..worlds.len() {
        if worlds[index].model.is_unused(owner, now) {
            let mut forgotten = worlds[index].clone();
            forgotten.model.reset(owner);
            if !worlds.contains(&forgotten) {
                worlds.push(forgotten);
            }
        }
    }
}

impl World {
    fn new(tick: u64) -> Self {
        Self {
            model: Model::new(tick),
            charges: BTreeMap::new(),
        }
    }

    fn keep(&mut self, number: usize, expected: &Expected) {
        if let Ok(answer) = expected {
            self.charges.insert(number, answer.charge.clone());
        }
    }

    fn and(&self, other: &Self) -> Self {
        let mut charges = self.charges.clone();
        charges.extend(other.charges.clone());
        Self {
            model: self.model.clone().and(&other.model),
            charges,
        }
    }

    fn only(&self, owner: &Owner, numbers: &[usize]) -> Self {
        let charges = self.charges.iter();
        let charges = charges.filter(|(number, _)| numbers.contains(number));
        Self {
            model: self.model.only(owner),
            charges: charges
                .map(|(number, charge)| (*number, charge.clone()))
                .collect(),
        }
    }
}

fn distinct(worlds: impl Iterator<Item = World>) -> Vec<World> {
    let mut distinct = Vec::new();
    for world in worlds {
        if !distinct.contains(&world) {
            distinct.push(world);
        }
    }
    distinct
}

/// Those worlds in which the answers are what is expected; or what is wrong in the first one.
fn agreeing(
    mut worlds: Vec<World>,
    answers: &[Answer],
    mut act: impl FnMut(&mut World) -> Vec<Expected>,
) -> Result<Vec<World>, String> {
    let mut wrong = None;
    worlds.retain_mut(|world| {
        let expected = act(world);
        let difference = compare(&expected, answers);
        let agrees = difference.is_ok();
        wrong = wrong.take().or(difference.err());
        agrees
    });
    match wrong {
        Some(difference) if worlds.is_empty() => Err(difference),
        _ => Ok(distinct(worlds.into_iter())),
    }
}

fn counted(checks: &[Check<'_>], answers: &[Answer]) -> Result<(), String> {
    if checks.len() == answers.len() {
        return Ok(());
    }
    Err(format!(
        "{} answers to {} questions",
        answers.len(),
        checks.len()
    ))
}

/// Says in what way the answers differ from those expected.
fn compare(expected: &[Expected], answers: &[Answer]) -> Result<(), String> {
    if expected.len() != answers.len() {
        let (found, asked) = (answers.len(), expected.len());
        return Err(format!("{found} answers to {asked} questions"));
    }
    let mut different = String::new();
    for (index, (expected, answer)) in expected.iter().zip(answers).enumerate() {
        if !is_same(expected, answer) {
            let _ = write!(
                different,
                "\nanswer {index}:\n  expected {expected:?}\n  found    {answer:?}"
            );
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    Err(different)
}

fn is_same(expected: &Expected, answer: &Answer) -> bool {
    match (expected, answer) {
        (Err(Refusal::Unsatisfiable), Err(error)) => error.kind() == ErrorKind::Unsatisfiable,
        (Ok(expected), Ok(decision)) => {
            decision.outcome() == expected.outcome
                && has_same_quotas(decision, &expected.quotas)
                && decision.charge().cost() == expected.charge.cost
        }
        _ => false,
    }
}

/// Whether the rates say what is expected. What is remembered does not know all that was refilled since,
/// and may say that less is left.
fn has_same_quotas(decision: &Decision, expected: &[Quota]) -> bool {
    let cached = decision.source() == Source::Cache;
    let is_same = |(mut found, expected): (Quota, &Quota)| {
        if cached {
            found.remaining = found.remaining.max(expected.remaining);
        }
        found == *expected
    };
    decision.quotas().len() == expected.len() && decision.quotas().zip(expected).all(is_same)
}
