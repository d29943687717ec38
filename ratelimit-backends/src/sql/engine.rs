//! A caller's questions: by statements or by transactions.

use std::collections::HashMap;

use ratelimit_core::{Adjust, Answers, Check, Decision, Error, Join};

use super::SqlBackend;
use super::ask::{Client, Told, again_and_again, answer};
use super::store::nonsense;
use crate::options::each;
use crate::shape::Shape;
use crate::stepwise::{Found, Owned, Work, refuse};

impl SqlBackend {
    pub(super) async fn decide_batch(
        &self,
        checks: &[Check<'_>],
        join: Join,
    ) -> Result<Answers, Error> {
        match join {
            Join::Each => Ok(self.decide_each(checks).await),
            Join::All => self.client().change(Owned::decide(checks, join)).await,
        }
    }

    /// Each by itself, together with those of other callers.
    async fn decide_each(&self, checks: &[Check<'_>]) -> Answers {
        let client = self.client();
        let mut answers: Vec<Option<Result<Decision, Error>>> = vec![None; checks.len()];
        let (mut places, mut questions) = (Vec::new(), Vec::new());
        let shapes = self.shapes(checks);
        for (place, (check, (name, shape))) in checks.iter().zip(shapes).enumerate() {
            if let Some(error) = refuse(&client.capabilities, check) {
                answers[place] = Some(Err(error));
            } else {
                places.push(place);
                questions.push(Client::question(check, name, shape));
            }
        }
        let told = self.batcher.ask(questions).await;
        let mut left = Vec::new();
        for (place, told) in places.into_iter().zip(told) {
            answers[place] = match told {
                Ok(Told::Apart(decision)) => Some(Ok(decision)),
                Ok(Told::Plain(told)) => answer(&checks[place], &told),
                Err(error) => Some(Err(error)),
            };
            if answers[place].is_none() {
                left.push(place);
            }
        }
        // Those of which a statement could make nothing. What was decided already stands, whatever becomes of these.
        if !left.is_empty() {
            let some: Vec<_> = left.iter().map(|place| checks[*place]).collect();
            let changed = client.change(Owned::decide(&some, Join::Each)).await;
            for (place, answer) in left.into_iter().zip(each(&some, changed)) {
                answers[place] = Some(answer);
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(nonsense())))
            .collect()
    }

    /// What each check's key is called, and which statement decides it. Checks of one key are decided in order, so that a key
    /// of which one has to be decided by a transaction, or by another statement, is decided by transactions alone.
    fn shapes(&self, checks: &[Check<'_>]) -> Vec<(String, Option<Shape>)> {
        let client = self.client();
        let named = checks.iter().map(|it| (client.name(it), client.shape(it)));
        let mut named: Vec<_> = named.collect();
        if named.len() > 1 {
            let mut known: HashMap<String, Option<Shape>> = HashMap::with_capacity(named.len());
            for (name, shape) in &named {
                let known = known.entry(name.clone()).or_insert(*shape);
                if known != shape {
                    *known = None;
                }
            }
            for (name, shape) in &mut named {
                *shape = known.get(name).copied().flatten();
            }
        }
        named
    }

    pub(super) async fn peek_batch(&self, checks: &[Check<'_>]) -> Result<Answers, Error> {
        let client = self.client();
        let batch = client.batch(checks.iter());
        if batch.names.is_empty() {
            return Ok(Answers::new());
        }
        let look = || client.store.look(batch.names.clone());
        let (now, values) = again_and_again(look).await?;
        let values = values.iter().map(|it| Some(&**it));
        let mut found = Found::of(now, values, &batch.algorithms);
        Ok(found.answer(Work::Peek(checks), &batch, &client.capabilities))
    }

    pub(super) async fn adjust_batch(&self, adjusts: &[Adjust<'_>]) -> Result<Answers, Error> {
        self.client().change(Owned::adjust(adjusts)).await
    }

    pub(super) async fn remove(&self, checks: &[Check<'_>]) -> Result<(), Error> {
        let client = self.client();
        let batch = client.batch(checks.iter());
        if batch.names.is_empty() {
            return Ok(());
        }
        let remove = || client.store.remove(batch.names.clone());
        again_and_again(remove).await
    }
}
