//! What a script's answer means.

use ratelimit_core::{
    Algorithm, Charge, Check, Decision, Error, Outcome, Quota, Source, Timestamp,
};
use redis::Value;

use super::scripts::nonsense;
use super::wire::{self, Logged};
use crate::stepwise::state;

/// The outcomes of the scripts that decide, but "it does not fit".
pub(super) const DENIED: i64 = 0;
pub(super) const ALLOWED: i64 = 1;
pub(super) const BROKEN: i64 = 3;

/// What one of them says of a check.
pub(super) struct Told {
    pub(super) now: Timestamp,
    pub(super) outcome: i64,
    /// What was stored, or what follows from it.
    pub(super) before: Vec<u8>,
}

/// One for each of so many checks.
pub(super) fn told(reply: Vec<Value>, checks: usize) -> Result<Vec<Told>, Error> {
    let mut reply = reply.into_iter();
    let now = instant(reply.next())?;
    let mut said = Vec::with_capacity(checks);
    for _ in 0..checks {
        let (Some(Value::Int(outcome)), Some(before)) =
            (reply.next(), reply.next().and_then(bytes))
        else {
            return Err(nonsense());
        };
        said.push(Told {
            now,
            outcome,
            before,
        });
    }
    Ok(said)
}

/// The answer to a check that the script decided.
pub(super) fn answer(check: &Check<'_>, told: &Told) -> Result<Decision, Error> {
    let algorithm = check.policy.algorithm();
    let decision = if algorithm == Algorithm::SlidingWindow {
        of_logs(check, told)?
    } else {
        state(&told.before, algorithm)?.decide(check, told.now)
    };
    if decision.is_allowed() == (told.outcome == ALLOWED) {
        Ok(decision)
    } else {
        Err(nonsense())
    }
}

fn of_logs(check: &Check<'_>, told: &Told) -> Result<Decision, Error> {
    let now = told.now;
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

/// What is in a key, unless that is no string.
pub(super) type Stored = Option<Vec<u8>>;

/// The time, and what is in each key, by its place in the batch.
pub(super) fn values(
    reply: Vec<Value>,
    order: &[usize],
) -> Result<(Timestamp, Vec<Stored>), Error> {
    let mut reply = reply.into_iter().skip(1);
    let now = instant(reply.next())?;
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

pub(super) fn instant(value: Option<Value>) -> Result<Timestamp, Error> {
    let bytes = value.and_then(bytes).ok_or_else(nonsense)?;
    wire::timestamp(&bytes).ok_or_else(nonsense)
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
