//! [`Follower`]: compares what a backend answers with what the model does.
//!
//! The model leaves one thing open: a key of which nothing is in use may be forgotten, or not. So
//! there can be several models that agree with everything seen so far; the backend is wrong when
//! none is left.

use core::fmt::Write;

use ratelimit_core::{Check, Decision, Error, ErrorKind, Join, Timestamp};

use crate::model::{Charge, Expected, Model, Refusal};

/// What may be true of the store, and what each charge was.
#[derive(Clone, Debug, PartialEq)]
struct World {
    model: Model,
    charges: Vec<Option<Charge>>,
}

/// One correction: the check, which charge (counted over all checks that were decided, in order),
/// and by how much.
#[derive(Clone, Debug)]
pub struct Correction<'a> {
    /// The question that was admitted.
    pub check: Check<'a>,
    /// The number of the charge.
    pub charge: usize,
    /// Units to charge more or to give back.
    pub by: i64,
}

/// Everything that may be true of a store, given what its backend said.
#[derive(Clone, Debug)]
pub struct Follower {
    worlds: Vec<World>,
}

impl Follower {
    /// Nothing has happened yet, on a store whose clock has ticks of so many nanoseconds.
    pub fn new(tick: u64) -> Self {
        let model = Model::new(tick);
        let charges = Vec::new();
        Self {
            worlds: vec![World { model, charges }],
        }
    }

    /// The backend decided. What is wrong with it, if anything is.
    pub fn decided(
        &mut self,
        checks: &[Check<'_>],
        join: Join,
        now: Timestamp,
        answers: &[Result<Decision, Error>],
    ) -> Result<(), String> {
        self.follow(now, answers, |world| {
            let expected = world.model.decide(checks, join, now);
            let charges = expected.iter().cloned();
            world
                .charges
                .extend(charges.map(|answer| answer.ok().map(|answer| answer.charge)));
            expected
        })
    }

    /// The backend was peeked at.
    pub fn peeked(
        &mut self,
        checks: &[Check<'_>],
        now: Timestamp,
        answers: &[Result<Decision, Error>],
    ) -> Result<(), String> {
        self.follow(now, answers, |world| world.model.peek(checks, now))
    }

    /// The backend corrected charges. Each stays known by its number.
    pub fn adjusted(
        &mut self,
        corrections: &[Correction<'_>],
        now: Timestamp,
        answers: &[Result<Decision, Error>],
    ) -> Result<(), String> {
        self.follow(now, answers, |world| {
            let adjust = |correction: &Correction<'_>| {
                let Correction { check, charge, by } = correction;
                let before = world.charges[*charge].clone().expect("a decided check");
                let answer = world.model.adjust(check, &before, *by, now);
                world.charges[*charge] = Some(answer.charge.clone());
                Ok(answer)
            };
            corrections.iter().map(adjust).collect()
        })
    }

    /// The backend made keys fresh.
    pub fn reset(&mut self, checks: &[Check<'_>]) {
        for world in &mut self.worlds {
            for check in checks {
                world.model.reset(check);
            }
        }
    }

    fn follow(
        &mut self,
        now: Timestamp,
        answers: &[Result<Decision, Error>],
        mut act: impl FnMut(&mut World) -> Vec<Expected>,
    ) -> Result<(), String> {
        self.forget(now);
        let mut wrong = None;
        self.worlds.retain_mut(|world| {
            let expected = act(world);
            let difference = compare(&expected, answers);
            let agrees = difference.is_ok();
            if let Err(difference) = difference {
                wrong.get_or_insert(difference);
            }
            agrees
        });
        match wrong {
            Some(difference) if self.worlds.is_empty() => Err(difference),
            _ => Ok(()),
        }
    }

    /// Every key of which nothing is in use may have been forgotten.
    fn forget(&mut self, now: Timestamp) {
        let mut worlds: Vec<World> = Vec::new();
        for world in self.worlds.drain(..) {
            let mut variants = vec![world];
            for owner in variants[0].model.unused(now) {
                for index in 0..variants.len() {
                    let mut without = variants[index].clone();
                    without.model.forget(&owner);
                    variants.push(without);
                }
            }
            for variant in variants {
                if !worlds.contains(&variant) {
                    worlds.push(variant);
                }
            }
        }
        self.worlds = worlds;
    }
}

/// Says in what way the answers differ from those expected.
pub fn compare(expected: &[Expected], answers: &[Result<Decision, Error>]) -> Result<(), String> {
    if expected.len() != answers.len() {
        return Err(format!(
            "{} answers to {} questions",
            answers.len(),
            expected.len()
        ));
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

fn is_same(expected: &Expected, answer: &Result<Decision, Error>) -> bool {
    match (expected, answer) {
        (Err(Refusal::Unsatisfiable), Err(error)) => error.kind() == ErrorKind::Unsatisfiable,
        (Ok(expected), Ok(decision)) => {
            decision.outcome() == expected.outcome
                && decision.quotas().eq(expected.quotas.iter().copied())
                && decision.charge().cost() == expected.charge.cost
        }
        _ => false,
    }
}
