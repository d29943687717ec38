//! A question: by the script that decides, or by exchange where that cannot.

use std::collections::HashMap;

use ratelimit_core::{
    Adjust, Algorithm, Answers, Charge, Check, Decision, Error, ErrorKind, Join, KeyState, Outcome,
    Quota, Source, Timestamp,
};
use redis::Value;

use super::RedisBackend;
use super::keys::storage_key;
use super::wire::{self, Logged};
use crate::stepwise;

/// How often an exchange is tried while others are faster.
const TRIES: u32 = 64;

/// How much longer keys are kept than they are live where the server's clock is not the one that decides.
const LONGER_MS: u64 = 3_600_000;

/// The outcomes of `decide.lua` but "it does not fit".
const DENIED: i64 = 0;
const ALLOWED: i64 = 1;
const BROKEN: i64 = 3;

/// What it says of one check.
struct Told {
    outcome: i64,
    before: Vec<u8>,
}

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

    /// The time that is told to scripts: none where the server's decides.
    fn time(&self) -> Vec<u8> {
        let clock = self.options.clock.as_ref();
        clock.map_or_else(Vec::new, |clock| {
            wire::instant(clock.now().as_nanos()).to_vec()
        })
    }

    pub(super) async fn decide_batch(
        &self,
        checks: &[Check<'_>],
        join: Join,
    ) -> Result<Answers, Error> {
        if checks.is_empty() {
            return Ok(Answers::new());
        }
        let usual = |check: &Check<'_>| check.cost > 0 && self.refuse(check).is_none();
        if !checks.iter().all(usual) {
            return self.decide_by_exchange(checks, join).await;
        }
        let names: Vec<_> = checks.iter().map(|check| self.name(check)).collect();
        let how = if join == Join::All { "A" } else { "E" };
        let mut arguments = vec![self.time(), how.into()];
        arguments.extend(checks.iter().map(wire::check));
        let (now, told) = told(
            self.connection.decide(&names, &arguments).await?,
            checks.len(),
        )?;
        let allowed = told.iter().all(|told| told.outcome == ALLOWED);
        if join == Join::All && !allowed {
            // Nothing was charged: what each of them says is worked out together.
            return self.decide_by_exchange(checks, join).await;
        }
        let mut answers = Answers::with_capacity(checks.len());
        let mut open = Vec::new();
        for (index, (check, told)) in checks.iter().zip(&told).enumerate() {
            match told.outcome {
                ALLOWED | DENIED => answers.push(answer(check, told, now)),
                BROKEN => answers.push(Err(no_state())),
                _ => {
                    open.push(index);
                    answers.push(Err(lost()));
                }
            }
        }
        if !open.is_empty() {
            let again: Vec<_> = open.iter().map(|index| checks[*index]).collect();
            let again = self.decide_by_exchange(&again, Join::Each).await;
            // What was decided stands, whatever becomes of these.
            let again = super::each(&open, again);
            for (index, answer) in open.into_iter().zip(again) {
                answers[index] = answer;
            }
        }
        Ok(answers)
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

    pub(super) async fn peek_batch(&self, checks: &[Check<'_>]) -> Result<Answers, Error> {
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

    pub(super) async fn adjust_batch(&self, adjusts: &[Adjust<'_>]) -> Result<Answers, Error> {
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
        // Who was not fast enough once lets the others of this process finish first.
        let mut alone = None;
        let mut order: Vec<usize> = (0..batch.names.len()).collect();
        let mut arguments = vec![self.time(), b"0".to_vec()];
        for _ in 0..TRIES {
            let names: Vec<_> = order
                .iter()
                .map(|place| batch.names[*place].clone())
                .collect();
            let reply = self.connection.exchange(&names, &arguments).await?;
            let (now, before) = values(reply, &order)?;
            let mut found = Found::of(now, &before, &batch.algorithms);
            let done = work(&mut found);
            let mut changes = Vec::new();
            for (place, (before, state)) in before.iter().zip(&found.states).enumerate() {
                let (bytes, keep) = self.stored(state, now);
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
            arguments = vec![self.time(), count.to_string().into_bytes()];
            let first: Vec<usize> = changes.iter().map(|change| change.0).collect();
            for (_, before, bytes, keep) in changes {
                arguments.extend([before.clone(), bytes, keep.to_string().into_bytes()]);
            }
            order.retain(|place| !first.contains(place));
            order.splice(0..0, first);
            let names: Vec<_> = order
                .iter()
                .map(|place| batch.names[*place].clone())
                .collect();
            let reply = self.connection.exchange(&names, &arguments).await?;
            if matches!(reply.first(), Some(Value::Int(1))) {
                return Ok(done);
            }
            arguments = vec![self.time(), b"0".to_vec()];
            if alone.is_none() {
                alone = Some(self.exchanging.lock().await);
            }
        }
        Err(Error::new(
            ErrorKind::Overloaded,
            format!("others changed the key {TRIES} times meanwhile"),
        ))
    }

    /// What is stored of a state, and for how many milliseconds; nothing where it equals a fresh one.
    fn stored(&self, state: &KeyState, now: Timestamp) -> (Vec<u8>, u64) {
        let fresh_at = state.fresh_at();
        let left = fresh_at.since(now).as_nanos();
        // A clock that may step back can make a state count again that is over.
        let injected = self.options.clock.is_some();
        if left == 0 && !(injected && fresh_at > Timestamp::default()) {
            return (Vec::new(), 0);
        }
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        let longer = if injected { LONGER_MS } else { 0 };
        let keep = u64::try_from(left.div_ceil(1_000_000)).unwrap_or(u64::MAX / 2);
        (bytes, keep + longer)
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

fn state(bytes: &[u8], algorithm: Algorithm) -> Result<KeyState, Error> {
    if bytes.is_empty() {
        return Ok(KeyState::fresh(algorithm));
    }
    let state = KeyState::decode(bytes)?;
    if state.algorithm() == algorithm {
        Ok(state)
    } else {
        Err(nonsense())
    }
}

/// The answer to a check that the script decided.
fn answer(check: &Check<'_>, told: &Told, now: Timestamp) -> Result<Decision, Error> {
    let algorithm = check.policy.algorithm();
    let decision = if algorithm == Algorithm::SlidingWindow {
        of_logs(check, told, now)?
    } else {
        state(&told.before, algorithm)?.decide(check, now)
    };
    if decision.is_allowed() == (told.outcome == ALLOWED) {
        Ok(decision)
    } else {
        Err(nonsense())
    }
}

fn of_logs(check: &Check<'_>, told: &Told, now: Timestamp) -> Result<Decision, Error> {
    let allowed = told.outcome == ALLOWED;
    let mut quotas = Vec::with_capacity(check.limits.as_slice().len());
    let mut said = told.before.chunks_exact(Logged::BYTES);
    for limit in check.limits.as_slice() {
        let logged = said.next().and_then(Logged::of).ok_or_else(nonsense)?;
        let (limit, period) = (limit.rate().limit(), limit.rate().period());
        let fits = logged.used.saturating_add(check.cost.into()) <= u64::from(limit);
        let charged = if allowed { u64::from(check.cost) } else { 0 };
        let left = u64::from(limit).saturating_sub(logged.used.saturating_add(charged));
        let until = |instant| Timestamp::from_nanos(instant).since(now);
        quotas.push(Quota::new(
            limit,
            u32::try_from(left).unwrap_or(u32::MAX),
            if fits {
                core::time::Duration::ZERO
            } else {
                until(logged.leaves)
            },
            if allowed { period } else { until(logged.last) },
        ));
    }
    let (outcome, cost) = if allowed {
        (Outcome::Allowed, check.cost)
    } else {
        (Outcome::Denied, 0)
    };
    Ok(Decision::new(
        outcome,
        Source::Store,
        &quotas,
        Charge::new(now, cost),
    ))
}

fn told(reply: Vec<Value>, checks: usize) -> Result<(Timestamp, Vec<Told>), Error> {
    let mut reply = reply.into_iter();
    let now = reply
        .next()
        .and_then(bytes)
        .and_then(|bytes| wire::timestamp(&bytes));
    let now = now.ok_or_else(nonsense)?;
    let mut said = Vec::with_capacity(checks);
    for _ in 0..checks {
        let (Some(Value::Int(outcome)), Some(before)) =
            (reply.next(), reply.next().and_then(bytes))
        else {
            return Err(nonsense());
        };
        said.push(Told { outcome, before });
    }
    Ok((now, said))
}

/// What is in a key, unless that is no string.
type Stored = Option<Vec<u8>>;

/// The time, and what is in each key, by its place in the batch.
fn values(reply: Vec<Value>, order: &[usize]) -> Result<(Timestamp, Vec<Stored>), Error> {
    let mut reply = reply.into_iter().skip(1);
    let now = reply
        .next()
        .and_then(bytes)
        .and_then(|bytes| wire::timestamp(&bytes));
    let now = now.ok_or_else(nonsense)?;
    let mut values = vec![None; order.len()];
    for place in order {
        values[*place] = match reply.next() {
            Some(Value::BulkString(bytes)) => Some(bytes),
            Some(Value::Nil) => None,
            _ => return Err(nonsense()),
        };
    }
    Ok((now, values))
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer makes no sense")
}

fn no_state() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "what is stored under the key is no state of ours",
    )
}

/// Not seen: it stands where an answer comes later.
fn lost() -> Error {
    Error::new(ErrorKind::Other, "the answer was lost")
}
