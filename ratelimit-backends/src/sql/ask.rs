//! [`Client`]: questions to the database, one statement or one transaction for many.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use ratelimit_core::{
    Answers, Capabilities, Check, Decision, Error, Join, KeyState, OwnedCheck, Timestamp,
};

use super::errors::Failure;
use super::store::{Asked, Change, Store, nonsense};
use crate::batcher::Ask;
use crate::names::{SHORTEST, short_key};
use crate::shape::{Numbers, Shape, delay};
use crate::stepwise::{Batch, Found, Owned, state, stored};
use crate::within::sleep;

/// How often something is tried that others prevented.
const TRIES: u32 = 24;

/// The longest that is waited before it is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// The database, and what is asked of it.
pub(super) struct Client {
    pub(super) store: Arc<Store>,
    pub(super) capabilities: Capabilities,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    /// The clock may step back at any time.
    pub(super) injected: bool,
}

/// A check that is asked together with those of others.
pub(super) enum Question {
    /// By a statement.
    Plain(Plain),
    /// By a transaction.
    Apart(Box<OwnedCheck>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    shape: Shape,
    name: String,
    takes: u32,
    delay: u64,
    numbers: Vec<Numbers>,
}

/// What becomes of it.
pub(super) enum Told {
    Plain(PlainTold),
    Apart(Decision),
}

pub(super) struct PlainTold {
    now: Timestamp,
    before: Arc<[u8]>,
    /// How many equal checks were decided before.
    earlier: u32,
    admitted: Option<u32>,
}

impl Client {
    pub(super) fn name(&self, check: &Check<'_>) -> String {
        short_key(&self.prefix, check, self.prefix.len() + SHORTEST)
    }

    /// The shape of a check that a statement can decide.
    pub(super) fn shape(&self, check: &Check<'_>) -> Option<Shape> {
        Shape::of(check).filter(|shape| self.store.decides(*shape))
    }

    pub(super) fn question(check: &Check<'_>, name: String, shape: Option<Shape>) -> Question {
        let Some(shape) = shape else {
            return Question::Apart(Box::new(check.to_owned()));
        };
        Question::Plain(Plain {
            shape,
            name,
            takes: check.cost,
            delay: if shape.delayed { delay(check) } else { 0 },
            numbers: shape.numbers(check),
        })
    }

    pub(super) fn batch<'c>(&self, checks: impl Iterator<Item = &'c Check<'c>>) -> Batch {
        Batch::of(checks, |check| self.name(check))
    }

    /// One transaction; again, while others prevent it.
    pub(super) async fn change(&self, owned: Owned) -> Result<Answers, Error> {
        let owned = Arc::new(owned);
        let batch = Arc::new(owned.with(|work| self.batch(work.checks())));
        if batch.names.is_empty() {
            return Ok(Answers::new());
        }
        again_and_again(|| {
            let (owned, batch) = (Arc::clone(&owned), Arc::clone(&batch));
            let (capabilities, injected) = (self.capabilities.clone(), self.injected);
            let names = batch.names.clone();
            let changing = move |now: Timestamp, values: &[Vec<u8>]| {
                let read = values.iter().map(|it| Some(&**it));
                let mut found = Found::of(now, read, &batch.algorithms);
                let answers = owned.with(|work| found.answer(work, &batch, &capabilities));
                let changes = changes(&found, &batch, values, injected);
                (answers, changes)
            };
            self.store.change(names, Box::new(changing))
        })
        .await
    }

    /// Statements for checks of one shape, until each of them is decided.
    async fn decide(&self, shape: Shape, plain: Vec<Plain>) -> Vec<Result<Told, Error>> {
        let count = plain.len();
        let mut told: Vec<Option<Result<Told, Error>>> = Vec::new();
        told.resize_with(count, || None);
        let mut left: Vec<usize> = (0..count).collect();
        let mut tries = 0;
        while !left.is_empty() {
            let (mut groups, later) = grouped(&plain, left);
            groups.sort_unstable_by(|one, other| plain[one[0]].name.cmp(&plain[other[0]].name));
            let asked = groups.iter().map(|places| {
                let first = &plain[places[0]];
                Asked {
                    name: first.name.clone(),
                    count: u32::try_from(places.len()).unwrap_or(u32::MAX),
                    takes: first.takes,
                    delay: first.delay,
                    numbers: first.numbers.clone(),
                }
            });
            let asked: Vec<_> = asked.collect();
            let ask = || self.store.decide(shape, asked.clone());
            let answers = match again_and_again(ask).await {
                Ok(answers) if answers.len() == groups.len() => answers,
                Ok(_) => return all(count, &nonsense()),
                Err(error) => {
                    // What was decided already stands.
                    for place in groups.into_iter().flatten().chain(later) {
                        told[place] = Some(Err(error.clone()));
                    }
                    break;
                }
            };
            left = later;
            let mut overtaken = Vec::new();
            for (places, answer) in groups.into_iter().zip(answers) {
                if answer.again {
                    overtaken.extend(places);
                    continue;
                }
                let mut places = places;
                if answer.admitted.is_none() {
                    // What comes after one that others have to decide has to wait for them, too.
                    let name = &plain[places[0]].name;
                    let (same, others) = left.iter().partition(|it| plain[**it].name == *name);
                    places.extend::<Vec<usize>>(same);
                    left = others;
                }
                let before: Arc<[u8]> = answer.before.into();
                for (earlier, place) in (0..).zip(places) {
                    told[place] = Some(Ok(Told::Plain(PlainTold {
                        now: answer.now,
                        before: Arc::clone(&before),
                        earlier,
                        admitted: answer.admitted,
                    })));
                }
            }
            if !overtaken.is_empty() {
                tries += 1;
                if tries == TRIES {
                    let error = Error::from(Failure::overtaken());
                    for place in overtaken.into_iter().chain(left) {
                        told[place] = Some(Err(error.clone()));
                    }
                    break;
                }
                left.extend(overtaken);
                left.sort_unstable();
            }
        }
        told.into_iter()
            .map(|told| told.unwrap_or_else(|| Err(nonsense())))
            .collect()
    }

    async fn decide_apart(&self, checks: Vec<OwnedCheck>) -> Vec<Result<Told, Error>> {
        let count = checks.len();
        match self.change(Owned::Decide(checks, Join::Each)).await {
            Ok(answers) => answers
                .into_iter()
                .map(|answer| answer.map(Told::Apart))
                .collect(),
            Err(error) => all(count, &error),
        }
    }
}

/// Tries something that others may prevent. Nothing was done then.
pub(super) async fn again_and_again<T, F>(mut work: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut tries = 0;
    loop {
        let failure = match work().await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        tries += 1;
        if !failure.again || tries == TRIES {
            return Err(failure.error);
        }
        if tries > 2 {
            sleep(PAUSE.mul_f64(fastrand::f64()))?.await;
        }
    }
}

/// The places of equal checks of each key, those that come first of each; and the others.
fn grouped(plain: &[Plain], places: Vec<usize>) -> (Vec<Vec<usize>>, Vec<usize>) {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // Which group a key has, and whether nothing can be added to it any more.
    let mut known: HashMap<&str, (usize, bool)> = HashMap::with_capacity(places.len());
    let mut later = Vec::new();
    for place in places {
        let it = &plain[place];
        let Some((group, is_full)) = known.get_mut(&*it.name) else {
            known.insert(&it.name, (groups.len(), false));
            groups.push(vec![place]);
            continue;
        };
        let same = *it == plain[groups[*group][0]];
        if same && !*is_full {
            groups[*group].push(place);
        } else {
            *is_full = true;
            later.push(place);
        }
    }
    (groups, later)
}

/// What is to be stored of the states.
fn changes(found: &Found, batch: &Batch, before: &[Vec<u8>], injected: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut any = false;
    for (place, before) in before.iter().enumerate() {
        if !found.is_sound(place) {
            continue;
        }
        let state = &found.states[place];
        let (bytes, _) = stored(state, found.now, injected);
        any |= bytes != *before;
        // A key that was locked to no purpose is to go again.
        if bytes != *before || bytes.is_empty() {
            changes.push(Change {
                name: batch.names[place].clone(),
                state: bytes,
                expires: i64::try_from(state.fresh_at().as_nanos()).unwrap_or(i64::MAX),
            });
        }
    }
    if any { changes } else { Vec::new() }
}

/// The answer to a check that a statement decided; none if others have to.
pub(super) fn answer(check: &Check<'_>, told: &PlainTold) -> Option<Result<Decision, Error>> {
    let admitted = told.admitted?;
    let mut state = match state(&told.before, check.policy.algorithm()) {
        Ok(state) => state,
        Err(error) => return Some(Err(error)),
    };
    let decision = replay(&mut state, check, told);
    // A statement that decided otherwise is not to be believed.
    Some(if decision.is_allowed() == (told.earlier < admitted) {
        Ok(decision)
    } else {
        Err(nonsense())
    })
}

fn replay(state: &mut KeyState, check: &Check<'_>, told: &PlainTold) -> Decision {
    for _ in 0..told.earlier {
        state.decide(check, told.now);
    }
    state.decide(check, told.now)
}

fn all<T>(count: usize, error: &Error) -> Vec<Result<T, Error>> {
    (0..count).map(|_| Err(error.clone())).collect()
}

impl Ask for Client {
    type Question = Question;
    type Answer = Told;
    /// The shape of those that a statement decides.
    type Lane = Option<Shape>;

    fn lane(&self, question: &Question) -> Option<Shape> {
        match question {
            Question::Plain(plain) => Some(plain.shape),
            Question::Apart(_) => None,
        }
    }

    fn bound(&self) -> Duration {
        self.timeout
    }

    async fn ask(&self, questions: Vec<Question>) -> Vec<Result<Told, Error>> {
        let (mut plain, mut apart) = (Vec::new(), Vec::new());
        for question in questions {
            match question {
                Question::Plain(it) => plain.push(it),
                Question::Apart(check) => apart.push(*check),
            }
        }
        // They are of one lane.
        match plain.first() {
            Some(first) => self.decide(first.shape, plain).await,
            None => self.decide_apart(apart).await,
        }
    }
}
