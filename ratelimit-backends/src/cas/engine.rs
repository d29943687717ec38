//! A caller's questions, each key's together.

use core::pin::pin;
use std::collections::HashMap;

use futures_util::future::join_all;
use ratelimit_core::{Adjust, Answers, Check, Error, ErrorKind, Join};

use super::CasBackend;
use super::ask::{Question, question, whole};
use super::store::CasStore;
use crate::stepwise::{Batch, Found, Owned, Work, refuse};
use crate::within::within;

impl<S: CasStore> CasBackend<S> {
    pub(super) async fn decide_batch(&self, checks: &[Check<'_>], join: Join) -> Answers {
        match join {
            Join::Each => self.decide_each(checks).await,
            Join::All => self.decide_all(checks).await,
        }
    }

    async fn decide_each(&self, checks: &[Check<'_>]) -> Answers {
        let client = self.client();
        let mut answers: Answers = Vec::with_capacity(checks.len());
        let mut asked = Vec::with_capacity(checks.len());
        for (place, check) in checks.iter().enumerate() {
            let refused = refuse(&client.capabilities, check);
            if refused.is_none() {
                asked.push((place, check));
            }
            answers.push(Err(refused.unwrap_or_else(lost)));
        }
        let works = self
            .by_name(asked.into_iter())
            .into_iter()
            .map(|(name, places)| {
                let some: Vec<_> = places.iter().map(|place| checks[*place]).collect();
                (name, places, Owned::decide(&some, Join::Each))
            });
        self.ask(works, &mut answers).await;
        answers
    }

    async fn decide_all(&self, checks: &[Check<'_>]) -> Answers {
        let names = self.by_name(checks.iter().enumerate());
        if names.len() > 1 {
            let message = format!(
                "checks that are one decision have to be of one key, and these are of {}",
                names.len()
            );
            let error = Error::new(ErrorKind::Unsupported, message);
            return checks.iter().map(|_| Err(error.clone())).collect();
        }
        let mut answers: Answers = checks.iter().map(|_| Err(lost())).collect();
        let works = names
            .into_iter()
            .map(|(name, places)| (name, places, Owned::decide(checks, Join::All)));
        self.ask(works, &mut answers).await;
        answers
    }

    pub(super) async fn adjust_batch(&self, adjusts: &[Adjust<'_>]) -> Answers {
        let checks = adjusts.iter().map(|adjust| &adjust.check);
        let mut answers: Answers = adjusts.iter().map(|_| Err(lost())).collect();
        let works = self
            .by_name(checks.enumerate())
            .into_iter()
            .map(|(name, places)| {
                let some: Vec<_> = places.iter().map(|place| adjusts[*place].clone()).collect();
                (name, places, Owned::adjust(&some))
            });
        self.ask(works, &mut answers).await;
        answers
    }

    /// Asks together with other callers, and puts the answers in their places. Each part of the store has its own time, so that
    /// one that does not answer takes nothing from what others say.
    async fn ask(
        &self,
        works: impl Iterator<Item = (String, Vec<usize>, Owned)>,
        answers: &mut Answers,
    ) {
        let mut parts: Vec<Part> = Vec::new();
        for (name, places, work) in works {
            let number = self.store().part(&name);
            let Some(question) = question(name, work) else {
                continue;
            };
            let part = match parts.iter().position(|part| part.number == number) {
                Some(known) => &mut parts[known],
                None => parts.push_mut(Part {
                    number,
                    places: Vec::new(),
                    questions: Vec::new(),
                }),
            };
            part.places.push(places);
            part.questions.push(question);
        }
        let asked = parts.into_iter().map(|part| async move {
            let Part {
                places, questions, ..
            } = part;
            let told = within(self.options.timeout, pin!(self.batcher.ask(questions))).await;
            (places, told)
        });
        for (all, told) in join_all(asked).await {
            let told =
                told.unwrap_or_else(|error| all.iter().map(|_| Err(error.clone())).collect());
            for (places, told) in all.into_iter().zip(told) {
                match told {
                    Ok(told) => {
                        for (place, answer) in places.into_iter().zip(told) {
                            answers[place] = answer;
                        }
                    }
                    Err(error) => {
                        for place in places {
                            answers[place] = Err(error.clone());
                        }
                    }
                }
            }
        }
    }

    /// The names of the keys, in the order in which they come first, and the places of each one's checks.
    fn by_name<'c>(
        &self,
        checks: impl Iterator<Item = (usize, &'c Check<'c>)>,
    ) -> Vec<(String, Vec<usize>)> {
        let mut names: Vec<(String, Vec<usize>)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (place, check) in checks {
            let name = self.client().name(check);
            // Most ask one thing.
            if names.last().is_some_and(|(last, _)| *last == name) {
                if let Some((_, places)) = names.last_mut() {
                    places.push(place);
                }
                continue;
            }
            let next = names.len();
            let index = *known.entry(name.clone()).or_insert(next);
            if index == next {
                names.push((name, Vec::new()));
            }
            names[index].1.push(place);
        }
        names
    }

    pub(super) async fn peek_batch(&self, checks: &[Check<'_>]) -> Answers {
        let client = self.client();
        let batch = Batch::of(checks.iter(), |check| client.name(check));
        let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, name) in batch.names.iter().enumerate() {
            parts
                .entry(client.store.part(name))
                .or_default()
                .push(index);
        }
        let loads = parts.into_values().map(|indices| {
            let names: Vec<&str> = indices.iter().map(|it| &*batch.names[*it]).collect();
            async move {
                let load = client.store.load_many(&names);
                let loaded = match within(self.options.timeout, pin!(load)).await {
                    Ok(loaded) => whole(loaded, names.len()),
                    Err(error) => names.iter().map(|_| Err(error.clone())).collect(),
                };
                indices.into_iter().zip(loaded).collect::<Vec<_>>()
            }
        });
        let mut values: Vec<Result<Vec<u8>, Error>> =
            batch.names.iter().map(|_| Err(lost())).collect();
        for (index, loaded) in join_all(loads).await.into_iter().flatten() {
            values[index] = loaded.map(|it| it.map_or_else(Vec::new, |it| it.state));
        }
        let read = values.iter().map(|value| match value {
            Ok(value) => Some(&**value),
            Err(_) => Some(&[][..]),
        });
        let found = Found::of(client.now(), read, &batch.algorithms);
        let mut found = found.with_slack(client.skew());
        let peeked = found.answer(Work::Peek(checks), &batch, &client.capabilities);
        let peeked = peeked.into_iter().zip(&batch.places);
        peeked
            .map(|(answer, place)| match &values[*place] {
                Ok(_) => answer,
                Err(error) => Err(error.clone()),
            })
            .collect()
    }

    pub(super) async fn remove(&self, checks: &[Check<'_>]) -> Result<(), Error> {
        let names = self.by_name(checks.iter().enumerate());
        let store = &self.client().store;
        let deleted = names.iter().map(|(name, _)| store.delete(name));
        join_all(deleted).await.into_iter().collect()
    }
}

/// Questions about keys of one part of the store, and where each one's answers go.
struct Part {
    number: usize,
    places: Vec<Vec<usize>>,
    questions: Vec<Question>,
}

/// What nobody should ever be told.
fn lost() -> Error {
    Error::new(ErrorKind::Protocol, "the answer was lost")
}
