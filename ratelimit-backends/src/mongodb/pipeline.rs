//! The arithmetic of the [algorithms](ratelimit_core::algorithm) as a pipeline that updates a document, and decides by that.
//!
//! Its numbers are integers of 64 bits, which are only added, subtracted and compared: what they divide or multiply to would
//! be rounded to 53 bits. (Of the two exceptions one is a remainder, which is exact, and the other takes decimals of 34 digits.)
//!
//! A document that is admitted has a new version afterwards, that of the question; any other stays as it was, which is no
//! write. The pipeline knows one case: a state that fits the limits, under a clock that went on. What else there is looks
//! like a denial, and is decided [elsewhere](super::exchange).

use mongodb::bson::{Bson, Document, doc};
use ratelimit_core::Check;

use super::document::{ALGORITHM, BEFORE, EXPIRES, VERSION, field};
use crate::shape::{Family, Shape, delay};
use crate::stepwise::LONGER_MS;

/// Nanoseconds in a millisecond, in which the server counts.
const MILLI: i64 = 1_000_000;

/// How much longer a key is kept than it has to be, in milliseconds: at least, where its rates are short, and at most. The
/// server looks for what is over once a minute.
const SLACK: (i64, i64) = (10_000, 60_000);

/// Expressions that build on each other: those of a level may use those of the levels before.
#[derive(Default)]
struct Steps {
    levels: [Document; 4],
    /// What has to hold for the check to be admitted.
    holds: Vec<Bson>,
    /// What the document has then.
    next: Document,
    /// When each rate is fresh again.
    ends: Vec<Bson>,
}

/// The update that decides a check of this shape, and which fields of the state it changes; `None` where its numbers are too
/// large. `now` is the time in nanoseconds, unless the server's clock tells it.
pub(super) fn decide(
    check: &Check<'_>,
    shape: Shape,
    version: i64,
    now: Option<i64>,
) -> Option<(Document, Vec<String>)> {
    let mut steps = Steps::default();
    steps.levels[0].insert(
        "n",
        match now {
            Some(now) => Bson::Int64(now),
            None => doc! { "$multiply": [{ "$toLong": "$$NOW" }, MILLI] }.into(),
        },
    );
    let algorithm = i32::from(shape.algorithm.number());
    let mut known: Vec<Bson> = vec![doc! { "$eq": [of(ALGORITHM), algorithm] }.into()];
    let mut before = Document::new();
    for (limit, rate) in check.limits.as_slice().iter().zip(1..) {
        let period = i64::try_from(limit.terms().period).ok()?;
        known.push(doc! { "$eq": [of(&field('p', rate)), period] }.into());
        steps.next.insert(field('p', rate), period);
        match shape.family {
            Family::Bucket => steps.bucket(check, shape, rate)?,
            Family::Fixed => steps.fixed(check, rate, period),
            Family::Counter => steps.counter(check, rate, period),
        }
    }
    let changed = steps.next.keys().filter(|name| !name.starts_with('p'));
    let changed: Vec<_> = changed.cloned().collect();
    for name in &changed {
        before.insert(name, of(name));
    }
    // A document that others have made is none of ours.
    let is = |name: &str, kind: &str| doc! { "$eq": [{ "$type": of(name) }, kind] };
    let is_new = doc! { "$eq": ["$$ROOT", { "_id": "$_id" }] };
    let is_fresh = doc! { "$and": [
        is(ALGORITHM, "missing"),
        { "$or": [is(VERSION, "long"), is_new] },
    ] };
    let fits = doc! { "$or": [{ "$and": known }, is_fresh] };
    steps.holds.insert(0, fits.into());
    let end = match &steps.ends[..] {
        [one] => one.clone(),
        several => doc! { "$max": several }.into(),
    };
    let expires = if now.is_some() {
        let left = doc! { "$divide": [{ "$subtract": [end, "$$n"] }, MILLI] };
        doc! { "$add": ["$$NOW", { "$ceil": left }, i64::try_from(LONGER_MS).ok()?] }
    } else {
        // As `removed_at`. What is rounded is less than a millisecond.
        let slack = slack(check);
        let whole = doc! { "$floor": { "$divide": [end, slack.checked_mul(MILLI)?] } };
        doc! { "$toDate": { "$multiply": [{ "$add": [whole, 1] }, slack] } }
    };
    let mut next = doc! {
        VERSION: version,
        ALGORITHM: algorithm,
        BEFORE: before,
        EXPIRES: expires,
    };
    next.extend(steps.next);
    let mut decided = doc! { "$cond": [
        { "$and": steps.holds },
        { "$mergeObjects": ["$$ROOT", next] },
        "$$ROOT",
    ] };
    for level in steps.levels.into_iter().rev().filter(|it| !it.is_empty()) {
        decided = doc! { "$let": { "vars": level, "in": decided } };
    }
    Some((doc! { "$replaceWith": decided }, changed))
}

/// By how much the end of a check's key is moved when it is, in milliseconds: as long as its shortest rate takes, or a bit more.
pub(super) fn slack(check: &Check<'_>) -> i64 {
    let periods = check.limits.as_slice().iter();
    let millis = periods.map(|limit| limit.rate().period().as_millis());
    let shortest = millis.min().and_then(|it| i64::try_from(it).ok());
    shortest.unwrap_or_default().clamp(SLACK.0, SLACK.1)
}

/// When a key is removed that is over then, both in milliseconds: later by the slack at most, and at an instant that many have in
/// common, as each change of it changes an index.
pub(super) fn removed_at(over: i64, slack: i64) -> i64 {
    let slack = slack.max(1);
    over.div_euclid(slack)
        .saturating_add(1)
        .saturating_mul(slack)
}

/// A field of the document.
fn of(name: &str) -> String {
    format!("${name}")
}

/// A variable.
fn var(name: char, rate: usize) -> String {
    format!("$${name}{rate}")
}

impl Steps {
    fn let_be(&mut self, level: usize, name: char, rate: usize, value: impl Into<Bson>) {
        self.levels[level].insert(field(name, rate), value);
    }

    fn keep(&mut self, rate: usize, (w, r, o): (Bson, Bson, Bson)) {
        for (name, value) in [('w', w), ('r', r), ('o', o)] {
            self.next.insert(field(name, rate), value);
        }
    }

    /// Spans are nanoseconds, and parts of one of which it has `q`.
    fn bucket(&mut self, check: &Check<'_>, shape: Shape, rate: usize) -> Option<()> {
        let limit = &check.limits.as_slice()[rate - 1];
        let terms = limit.terms();
        let (q, fill, takes) = (i64::from(terms.q), terms.fill, terms.time_of(check.cost));
        let (most, most_part) = (i64::try_from(fill.whole).ok()?, i64::from(fill.part));
        let (cost, cost_part) = (i64::try_from(takes.whole).ok()?, i64::from(takes.part));
        let delay = i64::try_from(delay(check)).ok()?;
        let stored = |name: char| of(&field(name, rate));
        let (debt, total) = (var('d', rate), var('t', rate));
        if q == 1 {
            // Nearly every rate: there are no parts. Those of another rate are rounded up elsewhere.
            let full_at = doc! { "$add": [{ "$max": [stored('w'), "$$n"] }, cost] };
            self.let_be(1, 't', rate, full_at);
            // Who may wait does so until the time of others is over.
            let most = if shape.delayed {
                most.min(cost.saturating_add(delay))
            } else {
                most
            };
            self.holds
                .push(doc! { "$lte": [stored('r'), 0_i64] }.into());
            self.holds
                .push(doc! { "$lte": [&total, { "$add": ["$$n", most] }] }.into());
            self.ends.push(total.clone().into());
            self.next.insert(field('w', rate), total);
            return Some(());
        }
        let ahead = |whole: Bson| doc! { "$max": [0_i64, { "$subtract": [whole, "$$n"] }] };
        let has_part = doc! { "$gt": [stored('r'), 0] };
        let same = |operator: &str| {
            let of_q = doc! { operator: [stored('o'), q] };
            doc! { "$and": [&has_part, of_q] }
        };
        let whole = doc! { "$cond": [same("$ne"), { "$add": [stored('w'), 1_i64] }, stored('w')] };
        self.let_be(1, 'x', rate, whole);
        self.let_be(
            1,
            'y',
            rate,
            doc! { "$cond": [same("$eq"), stored('r'), 0_i64] },
        );
        let (whole, part) = (var('x', rate), var('y', rate));
        self.let_be(2, 'd', rate, ahead(whole.clone().into()));
        let owed = doc! { "$cond": [{ "$gte": [whole, "$$n"] }, part, 0_i64] };
        self.let_be(2, 'e', rate, doc! { "$add": [owed, cost_part] });
        let sum = var('e', rate);
        let carry = doc! { "$gte": [&sum, q] };
        self.let_be(
            3,
            't',
            rate,
            doc! { "$add": [&debt, cost, { "$cond": [&carry, 1_i64, 0_i64] }] },
        );
        let rest = doc! { "$cond": [carry, { "$subtract": [&sum, q] }, &sum] };
        self.let_be(3, 'g', rate, rest);
        let rest = var('g', rate);
        self.holds.push(
            doc! { "$or": [
                { "$lt": [&total, most] },
                { "$and": [{ "$eq": [&total, most] }, { "$lte": [&rest, most_part] }] },
            ] }
            .into(),
        );
        if shape.delayed {
            let up = doc! { "$cond": [{ "$gt": [&sum, cost_part] }, 1_i64, 0_i64] };
            let wait = doc! { "$add": [&debt, up] };
            self.holds.push(doc! { "$lte": [wait, delay] }.into());
        }
        let full_at = doc! { "$add": ["$$n", &total] };
        self.ends
            .push(doc! { "$add": ["$$n", &total, 1_i64] }.into());
        self.keep(rate, (full_at.into(), rest.into(), q.into()));
        Some(())
    }

    /// Windows are known by when they begin.
    fn window(&mut self, rate: usize, period: i64) -> String {
        let begun = doc! { "$subtract": ["$$n", { "$mod": ["$$n", period] }] };
        self.let_be(1, 's', rate, begun);
        var('s', rate)
    }

    fn fixed(&mut self, check: &Check<'_>, rate: usize, period: i64) {
        let limit = i64::from(check.limits.as_slice()[rate - 1].terms().limit);
        let stored = |name: char| of(&field(name, rate));
        let begun = self.window(rate, period);
        let is_now = doc! { "$eq": [stored('w'), &begun] };
        let used =
            doc! { "$add": [{ "$cond": [is_now, stored('r'), 0_i64] }, i64::from(check.cost)] };
        self.let_be(2, 'u', rate, used);
        let used = var('u', rate);
        self.holds.push(doc! { "$lte": [&used, limit] }.into());
        self.holds
            .push(doc! { "$lte": [stored('w'), &begun] }.into());
        self.ends.push(doc! { "$add": [&begun, period] }.into());
        for (name, value) in [('w', begun), ('r', used)] {
            self.next.insert(field(name, rate), value);
        }
    }

    fn counter(&mut self, check: &Check<'_>, rate: usize, period: i64) {
        let limit = i64::from(check.limits.as_slice()[rate - 1].terms().limit);
        let stored = |name: char| of(&field(name, rate));
        let begun = self.window(rate, period);
        let is_now = doc! { "$eq": [stored('w'), &begun] };
        let was_before = doc! { "$eq": [stored('w'), { "$subtract": [&begun, period] }] };
        let previous = doc! { "$cond": [
            &is_now,
            stored('r'),
            { "$cond": [was_before, stored('o'), 0_i64] },
        ] };
        self.let_be(2, 'y', rate, previous);
        let used =
            doc! { "$add": [{ "$cond": [is_now, stored('o'), 0_i64] }, i64::from(check.cost)] };
        self.let_be(2, 'u', rate, used);
        let (previous, used) = (var('y', rate), var('u', rate));
        // What is multiplied can have 96 bits.
        let decimal = |number: Bson| doc! { "$toDecimal": number };
        let left = doc! { "$subtract": [{ "$add": [&begun, period] }, "$$n"] };
        let weighs = doc! { "$multiply": [decimal(previous.clone().into()), left] };
        let free = doc! { "$subtract": [limit, &used] };
        let room = doc! { "$multiply": [decimal(free.into()), period] };
        self.holds.push(doc! { "$lte": [&used, limit] }.into());
        self.holds.push(doc! { "$lte": [weighs, room] }.into());
        self.holds
            .push(doc! { "$lte": [stored('w'), &begun] }.into());
        self.ends.push(doc! { "$add": [&begun, period * 2] }.into());
        self.keep(rate, (begun.into(), previous.into(), used.into()));
    }
}
