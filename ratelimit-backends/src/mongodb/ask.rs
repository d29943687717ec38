//! [`Client`]: questions to the collection; one by a pipeline, several at once by [exchange](super::exchange).

use core::hash::BuildHasher;
use core::time::Duration;
use std::sync::Arc;

use foldhash::fast::RandomState;
use ratelimit_core::{
    Adjust, Capabilities, Charge, Check, Decision, Error, Join, OwnedCheck, Timestamp,
};

use super::document::{self, VERSION, version};
use super::errors::nonsense;
use super::pipeline;
use super::store::{Looked, Store};
use super::template::{self, Template, Templates};
use crate::batcher::Ask;
use crate::names::{SHORTEST, short_key};
use crate::shape::Shape;
use crate::stepwise::{Work, state};

/// The collection, and what is asked of it.
pub(super) struct Client {
    pub(super) store: Store,
    pub(super) capabilities: Capabilities,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    pub(super) lanes: u64,
    pub(super) hasher: RandomState,
    pub(super) templates: Templates,
    /// For exchanges that were not fast enough: those of one process would only be in each other's way.
    pub(super) exchanging: tokio::sync::Mutex<()>,
}

/// What is asked together with what others ask.
pub(super) struct Question {
    lane: Lane,
    check: OwnedCheck,
    /// What is corrected, if something is.
    charge: Option<(Charge, i64)>,
}

/// Which keys, and whether charges are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    number: u64,
    corrects: bool,
}

impl Client {
    pub(super) fn name(&self, check: &Check<'_>) -> String {
        short_key(&self.prefix, check, self.prefix.len() + SHORTEST)
    }

    pub(super) fn question(&self, check: &Check<'_>) -> Question {
        Question {
            lane: self.lane_of(check, false),
            check: check.to_owned(),
            charge: None,
        }
    }

    pub(super) fn correction(&self, adjust: &Adjust<'_>) -> Question {
        Question {
            lane: self.lane_of(&adjust.check, true),
            check: adjust.check.to_owned(),
            charge: Some((adjust.charge.clone(), adjust.by)),
        }
    }

    /// Those of one key are of one lane, in which one call is under way at a time, so that they are not in each other's way.
    fn lane_of(&self, check: &Check<'_>, corrects: bool) -> Lane {
        Lane {
            number: self.hasher.hash_one(check.key.as_bytes()) % self.lanes.max(1),
            corrects,
        }
    }

    async fn decide_one(&self, check: &Check<'_>) -> Result<Decision, Error> {
        let checks = [*check];
        let looked = match Shape::of(check) {
            None => None,
            Some(shape) => match self.by_pipeline(check, shape).await? {
                Told::Decided(decision) => return Ok(decision),
                Told::Found(looked) => Some(looked),
                Told::Nothing => None,
            },
        };
        let mut answers = self
            .exchange(Work::Decide(&checks, Join::Each), looked)
            .await;
        answers.pop().unwrap_or_else(|| Err(nonsense()))
    }

    async fn by_pipeline(&self, check: &Check<'_>, shape: Shape) -> Result<Told, Error> {
        let now = self.store.time();
        let told = match now.map(small) {
            None => None,
            Some(Some(told)) => Some(told),
            Some(None) => return Ok(Told::Nothing),
        };
        let make = || {
            let (update, changed) = pipeline::decide(check, shape, template::VERSION, told)?;
            Template::of(&self.store.decision(update).ok()?, changed)
        };
        let template = match told {
            None => self.templates.get(check, shape, make),
            // It has the time in it.
            Some(_) => make().map(Arc::new),
        };
        let Some(template) = template else {
            return Ok(Told::Nothing);
        };
        let (name, version) = (self.name(check), version());
        let decide = || self.store.decide(&name, &template, version, now);
        let (looked, document) = self.again_and_again(decide).await?;
        if document.get_i64(VERSION).ok() != Some(version) {
            return Ok(Told::Found(looked));
        }
        // Admitted. A pipeline that decided otherwise than the arithmetic is not to be believed.
        let before = document::before(&document, &template.changed).ok_or_else(nonsense)?;
        let mut state = state(&before, shape.algorithm)?;
        let decision = state.decide(check, looked.now);
        if decision.is_allowed() {
            Ok(Told::Decided(decision))
        } else {
            Err(nonsense())
        }
    }
}

/// What a pipeline says.
enum Told {
    Decided(Decision),
    /// It did nothing, for this is there: a denial, or something that others have to decide.
    Found(Looked),
    Nothing,
}

/// Nanoseconds that leave room to be added to.
fn small(now: Timestamp) -> Option<i64> {
    i64::try_from(now.as_nanos())
        .ok()
        .filter(|it| *it < i64::MAX / 2)
}

impl Ask for Client {
    type Question = Question;
    type Answer = Decision;
    type Lane = Lane;

    fn lane(&self, question: &Question) -> Lane {
        question.lane
    }

    fn bound(&self) -> Duration {
        self.timeout
    }

    async fn ask(&self, questions: Vec<Question>) -> Vec<Result<Decision, Error>> {
        let corrections = questions.iter().filter_map(|it| {
            let (charge, by) = it.charge.as_ref()?;
            Some(Adjust::new(it.check.as_check(), charge.clone(), *by))
        });
        let corrections: Vec<_> = corrections.collect();
        if corrections.len() == questions.len() {
            return self.exchange(Work::Adjust(&corrections), None).await;
        }
        let checks: Vec<_> = questions.iter().map(|it| it.check.as_check()).collect();
        match &checks[..] {
            [one] => vec![self.decide_one(one).await],
            several => self.exchange(Work::Decide(several, Join::Each), None).await,
        }
    }
}
