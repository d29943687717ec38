//! A question of a caller: by the scripts that decide, or by exchange where they cannot.

use std::collections::HashMap;

use futures_util::future::join_all;
use ratelimit_core::{
    Adjust, Algorithm, Answers, Check, Decision, Error, ErrorKind, Join, KeyState, Timestamp,
};
use redis::Value;

use super::RedisBackend;
use super::answer::{ALLOWED, BROKEN, DENIED, Stored, Told, answer, no_state, state, values};
use super::keys::storage_key;
use crate::stepwise;

/// How often an exchange is tried while others are faster.
const TRIES: u32 = 64;

/// The distinct keys of a batch.
struct Batch {
    names: Vec<String>,
    algorithms: Vec<Algorithm>,
    /// The place of each check's key among them.
    places: Vec<usize>,
}

impl RedisBackend {
    pub(super) fn name(&self, check: &Check<'_>) -> String {
        storage_key(&self.options.prefix, check)
    }

    fn batch<'c>(&self, checks: impl Iterator<Item = &'c Check<'c>>) -> Batch {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut algorithms = Vec::new();
        let places = checks.map(|check| {
            *known.entry(self.name(check)).or_insert_with(|| {
                algorithms.push(check.policy.algorithm());
                algorithms.len() - 1
            })
        });
        let places: Vec<_> = places.collect();
        let mut names = vec![String::new(); known.len()];
        for (name, place) in known {
            names[place] = name;
        }
        Batch {
            names,
            algorithms,
            places,
        }
    }

    /// Why a check cannot be decided at all.
    fn refuse(&self, check: &Check<'_>) -> Option<Error> {
        let algorithm = check.policy.algorithm();
        if let Some(incapable) = self.capabilities.refuse(algorithm, check.limits) {
            return Some(incapable.into());
        }
        let capacity = check.capacity();
        (check.cost > capacity).then(|| Error::unsatisfiable(check.cost, capacity))
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
            let decided = self.decide_by_exchange(&some, Join::Each).await;
            (group, super::each(&some, decided))
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
            return self.decide_by_exchange(checks, Join::All).await;
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
            None => self.decide_by_exchange(checks, Join::All).await,
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
        let answers =
            stepwise::decide(checks, &batch.places, &mut states, Join::All, now, |_| None);
        let denied = answers.iter().flatten().all(|answer| !answer.is_allowed());
        denied.then_some(answers)
    }

    async fn decide_by_exchange(&self, checks: &[Check<'_>], join: Join) -> Result<Answers, Error> {
        let batch = self.batch(checks.iter());
        self.exchange(&batch, |found| {
            let Found {
                now,
                states,
                faults,
            } = found;
            let refuse = |index: usize| {
                let fault = faults[batch.places[index]].clone();
                fault.or_else(|| self.refuse(&checks[index]))
            };
            stepwise::decide(checks, &batch.places, states, join, *now, refuse)
        })
        .await
    }

    pub(super) async fn peek_batch(&self, checks: &[Check<'_>]) -> Answers {
        let groups = self.by_slot(checks.iter().enumerate());
        let groups = groups.into_iter().map(|group| async move {
            let some: Vec<_> = group.iter().map(|place| checks[*place]).collect();
            let peeked = self.peek_slot(&some).await;
            (group, super::each(&some, peeked))
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

    async fn peek_slot(&self, checks: &[Check<'_>]) -> Result<Answers, Error> {
        let batch = self.batch(checks.iter());
        self.exchange(&batch, |found| {
            let checks = checks.iter().zip(&batch.places);
            checks
                .map(
                    |(check, place)| match found.fault(*place).or_else(|| self.refuse(check)) {
                        Some(error) => Err(error),
                        None => Ok(found.states[*place].peek(check, found.now)),
                    },
                )
                .collect()
        })
        .await
    }

    pub(super) async fn adjust_by_exchange(
        &self,
        adjusts: &[Adjust<'_>],
    ) -> Result<Answers, Error> {
        let batch = self.batch(adjusts.iter().map(|adjust| &adjust.check));
        self.exchange(&batch, |found| {
            let adjusts = adjusts.iter().zip(&batch.places);
            adjusts
                .map(|(adjust, place)| match found.fault(*place) {
                    Some(error) => Err(error),
                    None => Ok(found.states[*place].adjust(adjust, found.now)),
                })
                .collect()
        })
        .await
    }

    /// Reads the states, lets something work on them, and stores what it changed if nothing has changed
    /// since; else it works again on what is there now.
    async fn exchange<R>(
        &self,
        batch: &Batch,
        mut work: impl FnMut(&mut Found) -> R,
    ) -> Result<R, Error> {
        if batch.names.is_empty() {
            return Ok(work(&mut Found::default()));
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
            let mut found = Found::of(now, &before, &batch.algorithms);
            let done = work(&mut found);
            let mut changes = Vec::new();
            for (place, (before, state)) in before.iter().zip(&found.states).enumerate() {
                let (bytes, keep) = client.stored(state, now);
                if let Some(before) = before
                    && found.faults[place].is_none()
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

/// What is in the store of the keys of a batch.
#[derive(Default)]
struct Found {
    now: Timestamp,
    states: Vec<KeyState>,
    /// Why what is there is no state; it is not replaced then.
    faults: Vec<Option<Error>>,
}

impl Found {
    fn of(now: Timestamp, values: &[Stored], algorithms: &[Algorithm]) -> Self {
        let mut found = Self {
            now,
            ..Self::default()
        };
        for (bytes, algorithm) in values.iter().zip(algorithms) {
            let read = match bytes {
                Some(bytes) => state(bytes, *algorithm),
                None => Err(no_state()),
            };
            let (state, fault) = match read {
                Ok(state) => (state, None),
                Err(error) => (KeyState::fresh(*algorithm), Some(error)),
            };
            found.states.push(state);
            found.faults.push(fault);
        }
        found
    }

    fn fault(&self, place: usize) -> Option<Error> {
        self.faults[place].clone()
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
