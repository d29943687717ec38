//! A question of a caller: by the scripts that decide, or by exchange where they cannot.

use std::collections::HashMap;

use futures_util::future::join_all;
use ratelimit_core::{
    Adjust, Algorithm, Answers, Check, Decision, Error, ErrorKind, Join, KeyState,
};
use redis::Value;

use super::RedisBackend;
use super::answer::{ALLOWED, BROKEN, DENIED, Told, answer, values};
use crate::names::storage_key;
use crate::options::each;
use crate::stepwise::{self, Batch, Found, Work, no_state, state};

/// How often an exchange is tried while others are faster.
const TRIES: u32 = 64;

impl RedisBackend {
    pub(super) fn name(&self, check: &Check<'_>) -> String {
        storage_key(&self.builder.prefix, check)
    }

    fn batch<'c>(&self, checks: impl Iterator<Item = &'c Check<'c>>) -> Batch {
        Batch::of(checks, |check| self.name(check))
    }

    /// Why a check cannot be decided at all.
    fn refuse(&self, check: &Check<'_>) -> Option<Error> {
        stepwise::refuse(&self.capabilities, check)
    }

    pub(super) async fn decide_batch(
        &self,
        checks: &[Check<'_>],
        join: Join,
    ) -> Result<Answers, Error> {
        match join {
            Join::Each => Ok(self.decide_each(checks).await),
            Join::All => self.decide_all(checks).await,
        }
    }

    /// Each by itself, together with those of other callers.
    async fn decide_each(&self, checks: &[Check<'_>]) -> Answers {
        // Those of one key are decided in order, whichever way: what comes after one that the scripts cannot
        // decide takes its way.
        let mut by_exchange: Vec<usize> = Vec::new();
        let mut set_apart: Vec<String> = Vec::new();
        let mut answers: Vec<Option<Result<Decision, Error>>> = vec![None; checks.len()];
        let mut places = Vec::with_capacity(checks.len());
        let mut questions = Vec::with_capacity(checks.len());
        for (place, check) in checks.iter().enumerate() {
            let name = self.name(check);
            if let Some(error) = self.refuse(check) {
                answers[place] = Some(Err(error));
            } else if check.cost == 0 || (!set_apart.is_empty() && set_apart.contains(&name)) {
                by_exchange.push(place);
                set_apart.push(name);
            } else {
                places.push(place);
                questions.push(self.client().question(name, check));
            }
        }
        let told = self.batcher.ask(questions).await;
        for (place, told) in places.into_iter().zip(told) {
            answers[place] = match told {
                Ok(told) if matches!(told.outcome, ALLOWED | DENIED) => {
                    Some(answer(&checks[place], &told))
                }
                Ok(told) if told.outcome == BROKEN => Some(Err(no_state())),
                Ok(_) => {
                    by_exchange.push(place);
                    None
                }
                Err(error) => Some(Err(error)),
            };
        }
        let answers = answers.into_iter();
        let mut answers: Answers = answers
            .map(|answer| answer.unwrap_or_else(|| Err(no_state())))
            .collect();
        by_exchange.sort_unstable();
        if !by_exchange.is_empty() {
            self.each_by_exchange(checks, &by_exchange, &mut answers)
                .await;
        }
        answers
    }

    /// Decides those of the checks elsewhere. What was decided already stands, whatever becomes of these.
    async fn each_by_exchange(&self, checks: &[Check<'_>], which: &[usize], answers: &mut Answers) {
        let which = which.iter().map(|place| (*place, &checks[*place]));
        let groups = self.by_slot(which).into_iter().map(|group| async move {
            let some: Vec<_> = group.iter().map(|place| checks[*place]).collect();
            let decided = self.exchange(Work::Decide(&some, Join::Each)).await;
            (group, each(&some, decided))
        });
        put(answers, join_all(groups).await);
    }

    /// The places of these checks, those together whose keys one call can have.
    fn by_slot<'c>(&self, checks: impl Iterator<Item = (usize, &'c Check<'c>)>) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<u16, usize> = HashMap::new();
        for (place, check) in checks {
            let slot = if self.client().link.is_cluster() {
                self.client().slot(&self.name(check))
            } else {
                0
            };
            let group = *known.entry(slot).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(place);
        }
        groups
    }

    async fn decide_all(&self, checks: &[Check<'_>]) -> Result<Answers, Error> {
        if checks.is_empty() {
            return Ok(Answers::new());
        }
        let slots = self.by_slot(checks.iter().enumerate());
        if slots.len() > 1 {
            return Err(several_slots(slots.len()));
        }
        let usual = |check: &Check<'_>| check.cost > 0 && self.refuse(check).is_none();
        if !checks.iter().all(usual) {
            return self.exchange(Work::Decide(checks, Join::All)).await;
        }
        let client = self.client();
        let questions: Vec<_> = checks
            .iter()
            .map(|check| client.question(self.name(check), check))
            .collect();
        let told = client.decide(&questions, Join::All).await?;
        if told.iter().all(|told| told.outcome == ALLOWED) {
            return Ok(checks
                .iter()
                .zip(&told)
                .map(|(check, told)| answer(check, told))
                .collect());
        }
        // Nothing was charged: what each of them says is worked out together, from what was there.
        match self.none(checks, &told) {
            Some(answers) => Ok(answers),
            None => self.exchange(Work::Decide(checks, Join::All)).await,
        }
    }

    /// The answers to joined checks of which some were denied, if what was told is enough for that.
    fn none(&self, checks: &[Check<'_>], told: &[Told]) -> Option<Answers> {
        let known = |told: &Told| matches!(told.outcome, ALLOWED | DENIED);
        let log = |check: &Check<'_>| check.policy.algorithm() == Algorithm::SlidingWindow;
        let now = told.first()?.now;
        if !told.iter().all(known) || checks.iter().any(log) {
            return None;
        }
        let batch = self.batch(checks.iter());
        let mut states: Vec<Option<KeyState>> = vec![None; batch.names.len()];
        for (told, place) in told.iter().zip(&batch.places) {
            // A later check of a key is told what those before it left.
            if states[*place].is_none() {
                states[*place] = Some(state(&told.before, batch.algorithms[*place]).ok()?);
            }
        }
        let mut states: Vec<KeyState> = states.into_iter().collect::<Option<_>>()?;
        let answers = stepwise::decide(
            checks,
            &batch.places,
            &mut states,
            Join::All,
            |_, _| now,
            |_| None,
        );
        let denied = answers.iter().flatten().all(|answer| !answer.is_allowed());
        denied.then_some(answers)
    }

    pub(super) async fn peek_batch(&self, checks: &[Check<'_>]) -> Answers {
        let groups = self.by_slot(checks.iter().enumerate());
        let groups = groups.into_iter().map(|group| async move {
            let some: Vec<_> = group.iter().map(|place| checks[*place]).collect();
            let peeked = self.exchange(Work::Peek(&some)).await;
            (group, each(&some, peeked))
        });
        let mut answers: Answers = checks.iter().map(|_| Err(no_state())).collect();
        put(&mut answers, join_all(groups).await);
        answers
    }

    pub(super) async fn adjust_batch(&self, adjusts: &[Adjust<'_>]) -> Answers {
        let checks = adjusts.iter().map(|adjust| &adjust.check);
        let groups = self.by_slot(checks.enumerate());
        let groups = groups.into_iter().map(|group| async move {
            let some: Vec<_> = group.iter().map(|place| adjusts[*place].clone()).collect();
            let adjusted = self.adjust_slot(&some).await;
            (group, adjusted)
        });
        let mut answers: Answers = adjusts.iter().map(|_| Err(no_state())).collect();
        put(&mut answers, join_all(groups).await);
        answers
    }

    pub(super) async fn remove(&self, checks: &[Check<'_>]) -> Result<(), Error> {
        let groups = self.by_slot(checks.iter().enumerate());
        let client = self.client();
        let groups = groups.into_iter().map(|group| async move {
            let names: Vec<_> = group.iter().map(|it| self.name(&checks[*it])).collect();
            let slot = names.first().map_or(0, |name| client.slot(name));
            let mut command = redis::cmd("DEL");
            command.arg(names);
            client.link.call(slot, &command).await
        });
        for removed in join_all(groups).await {
            removed?;
        }
        Ok(())
    }

    /// Reads the states, works on them, and stores what has changed if nobody else changed it since; else works
    /// again on what is there now. The keys are of one slot.
    pub(super) async fn exchange(&self, work: Work<'_>) -> Result<Answers, Error> {
        let batch = self.batch(work.checks());
        if batch.names.is_empty() {
            return Ok(Answers::new());
        }
        let client = self.client();
        let slot = client.slot(&batch.names[0]);
        // Who was not fast enough once lets the others of this process finish first.
        let mut alone = None;
        let mut order: Vec<usize> = (0..batch.names.len()).collect();
        let mut arguments = vec![client.time(), b"0".to_vec()];
        for _ in 0..TRIES {
            let names: Vec<_> = order.iter().map(|place| &batch.names[*place]).collect();
            let exchange = &client.scripts.exchange;
            let reply = exchange
                .call((&client.link, slot), &names, &arguments)
                .await?;
            let (now, before) = values(reply, &order)?;
            let values = before.iter().map(Option::as_deref);
            let mut found = Found::of(now, values, &batch.algorithms);
            let done = found.answer(work, &batch, &self.capabilities);
            let mut changes = Vec::new();
            for (place, (before, state)) in before.iter().zip(&found.states).enumerate() {
                let (bytes, keep) = stepwise::stored(state, now, client.clock.is_some());
                if let Some(before) = before
                    && found.is_sound(place)
                    && bytes != *before
                {
                    changes.push((place, before, bytes, keep));
                }
            }
            if changes.is_empty() {
                return Ok(done);
            }
            let count = changes.len();
            arguments = vec![client.time(), count.to_string().into_bytes()];
            let first: Vec<usize> = changes.iter().map(|change| change.0).collect();
            for (_, before, bytes, keep) in changes {
                arguments.extend([before.clone(), bytes, keep.to_string().into_bytes()]);
            }
            order.retain(|place| !first.contains(place));
            order.splice(0..0, first);
            let names: Vec<_> = order.iter().map(|place| &batch.names[*place]).collect();
            let exchange = &client.scripts.exchange;
            let reply = exchange
                .call((&client.link, slot), &names, &arguments)
                .await?;
            if matches!(reply.first(), Some(Value::Int(1))) {
                return Ok(done);
            }
            arguments = vec![client.time(), b"0".to_vec()];
            if alone.is_none() {
                alone = Some(self.exchanging.lock().await);
            }
        }
        Err(Error::new(
            ErrorKind::Overloaded,
            format!("others changed the key {TRIES} times meanwhile"),
        ))
    }
}

/// Puts the answers of groups in their places.
fn put(answers: &mut Answers, groups: Vec<(Vec<usize>, Answers)>) {
    for (places, group) in groups {
        for (place, answer) in places.into_iter().zip(group) {
            answers[place] = answer;
        }
    }
}

fn several_slots(slots: usize) -> Error {
    let message = format!(
        "checks that are one decision have to be of one slot of a Redis Cluster, and these are of {slots}"
    );
    Error::new(ErrorKind::Unsupported, message)
}
