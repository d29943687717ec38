//! [`Client`]: questions to the scripts that decide, one call for many.

use std::collections::HashMap;
use std::sync::Arc;

use core::time::Duration;

use futures_util::future::join_all;
use ratelimit_core::{Check, Clock, Error, Join};

use super::answer::{self, Told};
use super::errors;
use super::link::{Failure, Link};
use super::scripts::Scripts;
use super::slots::slot;
use super::wire;
use crate::batcher::Ask;

/// A connection to the servers, and what is asked on it.
pub(super) struct Client {
    pub(super) link: Link,
    pub(super) scripts: Scripts,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) timeout: Duration,
}

/// A check as the scripts read it.
pub(super) struct Question {
    name: String,
    check: Vec<u8>,
    /// It is of a bucket of one rate, without a delay.
    plain: bool,
    slot: u16,
}

impl Client {
    pub(super) fn question(&self, name: String, check: &Check<'_>) -> Question {
        let algorithm = check.policy.algorithm();
        let one = check.limits.as_slice().len() == 1;
        Question {
            plain: algorithm.is_bucket() && one && !wire::is_delayed(check),
            check: wire::check(check),
            slot: self.slot(&name),
            name,
        }
    }

    /// Which keys are where. Where there are no slots, all are in one.
    pub(super) fn slot(&self, name: &str) -> u16 {
        if self.link.is_cluster() {
            slot(name)
        } else {
            0
        }
    }

    /// The time that is told to scripts: none where the server's decides.
    pub(super) fn time(&self) -> Vec<u8> {
        let clock = self.clock.as_ref();
        clock.map_or_else(Vec::new, |clock| {
            wire::instant(clock.now().as_nanos()).to_vec()
        })
    }

    /// One script call.
    pub(super) async fn decide(
        &self,
        questions: &[Question],
        join: Join,
    ) -> Result<Vec<Told>, Failure> {
        let time = self.time();
        let how: &[u8] = match join {
            Join::Each => b"E",
            Join::All => b"A",
        };
        let plain = join == Join::Each && questions.iter().all(|question| question.plain);
        let script = if plain {
            &self.scripts.bucket
        } else {
            &self.scripts.decide
        };
        let names: Vec<&str> = questions.iter().map(|it| &it.name[..]).collect();
        let checks = questions.iter().map(|it| &it.check[..]);
        let arguments: Vec<&[u8]> = [&time[..], how].into_iter().chain(checks).collect();
        let slot = questions.first().map_or(0, |it| it.slot);
        let reply = script.call((&self.link, slot), &names, &arguments).await?;
        answer::told(reply, questions.len()).map_err(Failure::Unasked)
    }

    /// The same, where keys of one slot may be on their way to another node: there a script can have but one of
    /// them at a time.
    async fn decide_each(&self, questions: Vec<Question>) -> Vec<Result<Told, Error>> {
        let count = questions.len();
        let error = match self.decide(&questions, Join::Each).await {
            Ok(told) => return told.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        let migrates = matches!(&error, Failure::Told(error) if errors::is_migration(error));
        if !migrates {
            return all(count, &error.into());
        }
        let mut by_name: HashMap<String, (Vec<usize>, Vec<Question>)> = HashMap::new();
        for (place, question) in questions.into_iter().enumerate() {
            let group = by_name.entry(question.name.clone()).or_default();
            group.0.push(place);
            group.1.push(question);
        }
        let asked = by_name.into_values().map(|(places, questions)| async move {
            let told = self.decide(&questions, Join::Each).await;
            (places, told.map_err(Error::from))
        });
        let mut answers = all(count, &error.into());
        for (places, told) in join_all(asked).await {
            let told = match told {
                Ok(told) => told.into_iter().map(Ok).collect(),
                Err(error) => all(places.len(), &error),
            };
            for (place, told) in places.into_iter().zip(told) {
                answers[place] = told;
            }
        }
        answers
    }
}

fn all<T>(count: usize, error: &Error) -> Vec<Result<T, Error>> {
    (0..count).map(|_| Err(error.clone())).collect()
}

impl Ask for Client {
    type Question = Question;
    type Answer = Told;
    /// The slot.
    type Lane = u16;

    fn lane(&self, question: &Question) -> u16 {
        question.slot
    }

    fn bound(&self) -> Duration {
        self.timeout
    }

    async fn ask(&self, questions: Vec<Question>) -> Vec<Result<Told, Error>> {
        self.decide_each(questions).await
    }
}
