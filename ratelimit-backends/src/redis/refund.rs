//! Corrections of what was charged: by the script that gives back and charges more, or by exchange where it cannot.

use ratelimit_core::algorithm::Span;
use ratelimit_core::{
    Adjust, Algorithm, Answers, Charge, Decision, Error, KeyState, Outcome, Quota, Source,
    Timestamp,
};
use redis::Value;

use super::RedisBackend;
use super::answer::{bytes, instant};
use super::scripts::nonsense;
use super::wire;
use crate::options::each;
use crate::stepwise::{self, Work, no_state, state};

/// How many corrections are one call at most: nobody else is served while a script runs.
const MOST: usize = 512;

/// What the script says of a correction that it has done; else it does not fit.
const DONE: i64 = 1;

/// What it is told to do, beside nothing.
const BACK: u8 = 1;
/// The same of a place in a queue.
const PLACE: u8 = 2;
const MORE: u8 = 3;

/// What it says of a correction.
struct Adjusted {
    outcome: i64,
    /// What was stored; of logs, what follows from what is stored now.
    before: Vec<u8>,
    /// What is stored now, but of logs.
    after: Vec<u8>,
}

impl RedisBackend {
    /// Corrections of keys of one slot, in order.
    pub(super) async fn adjust_slot(&self, adjusts: &[Adjust<'_>]) -> Answers {
        let mut answers = Answers::with_capacity(adjusts.len());
        for some in adjusts.chunks(MOST) {
            answers.extend(each(some, self.adjust_some(some).await));
        }
        answers
    }

    async fn adjust_some(&self, adjusts: &[Adjust<'_>]) -> Result<Answers, Error> {
        let client = self.client();
        let checks = adjusts.iter().map(|adjust| &adjust.check);
        let names: Vec<_> = checks.map(|check| self.name(check)).collect();
        let mut arguments = vec![client.time()];
        arguments.extend(adjusts.iter().map(correction));
        let refund = &client.scripts.refund;
        let slot = names.first().map_or(0, |name| client.slot(name));
        let reply = refund
            .call((&client.link, slot), &names, &arguments)
            .await?;
        let (now, adjusted) = adjusted(reply, adjusts.len())?;
        let mut answers = Answers::with_capacity(adjusts.len());
        let mut by_exchange = Vec::new();
        for (place, (adjust, adjusted)) in adjusts.iter().zip(&adjusted).enumerate() {
            if adjusted.outcome == DONE {
                answers.push(self.adjusted(adjust, adjusted, now));
            } else {
                by_exchange.push(place);
                answers.push(Err(no_state()));
            }
        }
        if !by_exchange.is_empty() {
            // What was corrected already stands, whatever becomes of these.
            let some: Vec<_> = by_exchange
                .iter()
                .map(|place| adjusts[*place].clone())
                .collect();
            let exchanged = each(&some, self.exchange(Work::Adjust(&some)).await);
            for (place, answer) in by_exchange.into_iter().zip(exchanged) {
                answers[place] = answer;
            }
        }
        Ok(answers)
    }

    /// The answer, worked out here from what was stored: what the script has stored has to be the same.
    fn adjusted(
        &self,
        adjust: &Adjust<'_>,
        adjusted: &Adjusted,
        now: Timestamp,
    ) -> Result<Decision, Error> {
        let algorithm = adjust.check.policy.algorithm();
        if algorithm == Algorithm::SlidingWindow {
            return of_logs(adjust, &adjusted.before, now);
        }
        let mut state = state(&adjusted.before, algorithm)?;
        let decision = state.adjust(adjust, now);
        if stepwise::stored(&state, now, self.client().clock.is_some()).0 == adjusted.after {
            Ok(decision)
        } else {
            Err(nonsense())
        }
    }
}

/// How many units are to be given back, or charged more if there are as many.
fn units(adjust: &Adjust<'_>) -> u32 {
    let by = u32::try_from(adjust.by.unsigned_abs()).unwrap_or(u32::MAX);
    if adjust.by < 0 {
        by.min(adjust.charge.cost())
    } else {
        by
    }
}

/// A correction, as the script reads it.
fn correction(adjust: &Adjust<'_>) -> Vec<u8> {
    let Adjust { check, charge, .. } = adjust;
    let algorithm = check.policy.algorithm();
    let limits = check.limits.as_slice();
    let mut out = Vec::with_capacity(7 + 60 * limits.len());
    out.push(algorithm.number());
    // One to four.
    out.push(u8::try_from(limits.len()).unwrap_or(u8::MAX));
    out.push(match adjust.by {
        0 => 0,
        ..0 if algorithm == Algorithm::LeakyBucket && charge.is_queued() => PLACE,
        ..0 => BACK,
        _ => MORE,
    });
    let units = units(adjust);
    out.extend(units.to_be_bytes());
    // A charge of fewer rates than there are now has nothing to give back to the others.
    let mut full_at = charge.full_at();
    for limit in limits {
        let terms = limit.terms();
        out.extend(terms.period.to_be_bytes());
        match algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => {
                out.extend(terms.limit.to_be_bytes());
                // Periods are whole milliseconds.
                out.extend((terms.period / 1_000_000).to_be_bytes());
                out.extend((charge.at().as_nanos() / terms.period).to_be_bytes());
            }
            Algorithm::SlidingWindow => {
                out.extend(terms.limit.to_be_bytes());
                out.extend(wire::instant(terms.period));
                out.extend(wire::instant(charge.at().as_nanos()));
            }
            _ => {
                out.extend(terms.q.to_be_bytes());
                // How many units more there is room for is found by doubling the time of one.
                let time = terms.time_of(if adjust.by > 0 { 1 } else { units });
                let charged_to = full_at.next().unwrap_or_default();
                for Span { whole, part } in [terms.fill, time, charged_to] {
                    out.extend(wire::instant(whole));
                    out.extend(part.to_be_bytes());
                }
            }
        }
    }
    out
}

fn adjusted(reply: Vec<Value>, adjusts: usize) -> Result<(Timestamp, Vec<Adjusted>), Error> {
    let mut reply = reply.into_iter();
    let now = instant(reply.next())?;
    let mut said = Vec::with_capacity(adjusts);
    for _ in 0..adjusts {
        let (Some(Value::Int(outcome)), Some(before), Some(after)) = (
            reply.next(),
            reply.next().and_then(bytes),
            reply.next().and_then(bytes),
        ) else {
            return Err(nonsense());
        };
        said.push(Adjusted {
            outcome,
            before,
            after,
        });
    }
    Ok((now, said))
}

/// How much of a log counts, and when all of it will have left, of each rate; before them, how many units the script
/// has charged.
fn of_logs(adjust: &Adjust<'_>, said: &[u8], now: Timestamp) -> Result<Decision, Error> {
    let (units, mut said) = said.split_first_chunk().ok_or_else(nonsense)?;
    let limits = adjust.check.limits.as_slice();
    let mut quotas = Vec::with_capacity(limits.len());
    for limit in limits {
        let (used, rest) = said.split_first_chunk().ok_or_else(nonsense)?;
        let (last, rest) = rest.split_at_checked(12).ok_or_else(nonsense)?;
        said = rest;
        let last = wire::timestamp(last).ok_or_else(nonsense)?;
        let limit = limit.rate().limit();
        let left = u64::from(limit).saturating_sub(u64::from_be_bytes(*used));
        quotas.push(Quota::new(
            limit,
            u32::try_from(left).unwrap_or(u32::MAX),
            core::time::Duration::ZERO,
            last.since(now),
        ));
    }
    let charge = charged(adjust, u32::from_be_bytes(*units), now)?;
    Ok(Decision::new(
        Outcome::Allowed,
        Source::Store,
        &quotas,
        charge,
    ))
}

/// What is charged in all, if so many units were charged more.
fn charged(adjust: &Adjust<'_>, units: u32, now: Timestamp) -> Result<Charge, Error> {
    let Adjust {
        check, charge, by, ..
    } = adjust;
    if *by > 0 && i64::from(units) > *by {
        return Err(nonsense());
    }
    if *by > 0 && units == 0 {
        return Ok(match charge.cost() {
            0 => Charge::new(now, 0),
            _ => charge.clone(),
        });
    }
    // What becomes of the charge does not depend on what is stored, but where there is less room than was asked for.
    let by = if *by > 0 { units.into() } else { *by };
    let mut fresh = KeyState::fresh(check.policy.algorithm());
    let adjusted = fresh.adjust(&Adjust::new(*check, charge.clone(), by), now);
    Ok(adjusted.charge().clone())
}
