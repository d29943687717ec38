//! [`Client`]: the questions of many callers, by one load and one swap of each key.

use core::hash::BuildHasher;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use ratelimit_core::{
    Algorithm, Answers, Capabilities, Check, Clock, Error, ErrorKind, KeyState, Timestamp,
};

use super::store::{CasStore, Loaded, Swap};
use crate::batcher::Ask;
use crate::names::short_key;
use crate::stepwise::{Batch, Found, Owned, Work, state, stored};
use crate::within::sleep;

/// The longest key.
pub(super) const LONGEST: usize = 250;

/// How far the clocks of processes may be apart without a step back: what one of them wrote lies so far ahead for others.
pub(super) const SKEW: Duration = Duration::from_secs(10);

/// The longest that is waited before it is tried again, and how long the first time.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(5));

/// The store, and what is asked of it.
pub(super) struct Client<S> {
    pub(super) store: S,
    pub(super) capabilities: Capabilities,
    pub(super) prefix: String,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether it was given, for tests, and so is the same for everybody.
    pub(super) injected: bool,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    /// How many calls may be under way at once in each part of the store. A key always has the same one, so that callers of
    /// this process are not in each other's way.
    pub(super) calls: u64,
    pub(super) spread: foldhash::fast::RandomState,
}

/// What a caller asks of one key.
pub(super) struct Question {
    pub(super) name: String,
    pub(super) algorithm: Algorithm,
    pub(super) work: Owned,
}

/// A key, and the places of the questions that are about it.
struct Key<'q> {
    name: &'q str,
    algorithm: Algorithm,
    places: Vec<usize>,
}

/// What was decided on a state, and is to be stored before it is true.
struct Decided<'q, V> {
    key: Key<'q>,
    answers: Vec<Answers>,
    version: Option<V>,
    state: Vec<u8>,
    keep: Duration,
}

/// What is to be stored, and for how long.
type Change = (Vec<u8>, Duration);

/// Where the answers go.
type Told = [Result<Answers, Error>];

impl<S: CasStore> Client<S> {
    pub(super) fn name(&self, check: &Check<'_>) -> String {
        short_key(&self.prefix, check, LONGEST)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How far a state may lie ahead.
    pub(super) fn skew(&self) -> Duration {
        if self.injected { Duration::ZERO } else { SKEW }
    }

    /// What is stored of a state, and for how long; nothing where it equals a fresh one for every process. A window ends later
    /// for one whose clock is behind; a bucket, and a log, need only the time that passes.
    fn stored(&self, state: &KeyState, now: Timestamp) -> Change {
        let skew = match state.algorithm() {
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => self.skew(),
            _ => Duration::ZERO,
        };
        let behind = u64::try_from(skew.as_nanos()).unwrap_or(u64::MAX);
        let latest = Timestamp::from_nanos(now.as_nanos().saturating_sub(behind));
        let (bytes, keep) = stored(state, latest, self.injected);
        (bytes, Duration::from_millis(keep))
    }

    /// One load of the keys, and one swap of those that change. Returns those that others changed meanwhile: nothing was done
    /// to them.
    async fn attempt<'q>(
        &self,
        questions: &[Question],
        keys: Vec<Key<'q>>,
        told: &mut Told,
    ) -> Vec<Key<'q>> {
        let names: Vec<_> = keys.iter().map(|key| key.name).collect();
        let loaded = self.store.load_many(&names).await;
        let loaded = whole(loaded, names.len());
        let now = self.now();
        let mut decided: Vec<Decided<'q, S::Version>> = Vec::with_capacity(keys.len());
        for (key, loaded) in keys.into_iter().zip(loaded) {
            let loaded = match loaded {
                Ok(loaded) => loaded,
                Err(error) => {
                    key.fails(&error, told);
                    continue;
                }
            };
            let (before, version) = match loaded {
                Some(Loaded { state, version }) => (state, Some(version)),
                None => (Vec::new(), None),
            };
            match self.work(questions, &key, &before, now) {
                (answers, None) => key.answer(answers, told),
                (answers, Some((state, keep))) => decided.push(Decided {
                    key,
                    answers,
                    version,
                    state,
                    keep,
                }),
            }
        }
        if decided.is_empty() {
            return Vec::new();
        }
        let swaps: Vec<_> = decided
            .iter()
            .map(|it| Swap::new(it.key.name, it.version.as_ref(), &it.state, it.keep))
            .collect();
        let swapped = self.store.swap_many(&swaps).await;
        let swapped = whole(swapped, swaps.len());
        let mut overtaken = Vec::new();
        for (Decided { key, answers, .. }, swapped) in decided.into_iter().zip(swapped) {
            match swapped {
                Ok(true) => key.answer(answers, told),
                Ok(false) => overtaken.push(key),
                Err(error) => key.fails(&error, told),
            }
        }
        overtaken
    }

    /// The answers to all questions about a key, one after the other, and what is to be stored then, if anything is.
    fn work(
        &self,
        questions: &[Question],
        key: &Key<'_>,
        before: &[u8],
        now: Timestamp,
    ) -> (Vec<Answers>, Option<Change>) {
        let read = core::iter::once(Some(before));
        let found = Found::of(now, read, &[key.algorithm]);
        let mut found = found.with_slack(self.skew());
        let answer = |place: &usize| {
            questions[*place].work.with(|work| {
                let batch = Batch::of_one_key(work);
                found.answer(work, &batch, &self.capabilities)
            })
        };
        let answers = key.places.iter().map(answer).collect();
        if !found.is_sound(0) {
            return (answers, None);
        }
        let (bytes, keep) = self.stored(&found.states[0], now);
        // What is over need not be removed: the store does so by itself.
        let was_over = || {
            let before = state(before, key.algorithm);
            before.is_ok_and(|before| self.stored(&before, now).0.is_empty())
        };
        if bytes == *before || (bytes.is_empty() && was_over()) {
            return (answers, None);
        }
        (answers, Some((bytes, keep)))
    }

    /// Lets others finish. Who was overtaken often waits for longer, and no two for as long as each other.
    async fn pause(&self, tries: u32) -> Result<(), Error> {
        let Some(doubled) = tries.checked_sub(2) else {
            return Ok(());
        };
        let (shortest, longest) = PAUSES;
        let pause = shortest.saturating_mul(1 << doubled.min(10)).min(longest);
        sleep(pause.mul_f64(fastrand::f64()))?.await;
        Ok(())
    }
}

impl Key<'_> {
    fn answer(self, answers: Vec<Answers>, told: &mut Told) {
        for (place, answers) in self.places.into_iter().zip(answers) {
            told[place] = Ok(answers);
        }
    }

    fn fails(self, error: &Error, told: &mut Told) {
        for place in self.places {
            told[place] = Err(error.clone());
        }
    }
}

/// The keys that questions are about, each once.
fn keys(questions: &[Question]) -> Vec<Key<'_>> {
    let mut keys: Vec<Key<'_>> = Vec::with_capacity(questions.len());
    let mut known: HashMap<&str, usize> = HashMap::with_capacity(questions.len());
    for (place, question) in questions.iter().enumerate() {
        let key = *known.entry(&question.name).or_insert_with(|| {
            keys.push(Key {
                name: &question.name,
                algorithm: question.algorithm,
                places: Vec::new(),
            });
            keys.len() - 1
        });
        keys[key].places.push(place);
    }
    keys
}

/// The answers of the store, if there is one for each question.
pub(super) fn whole<T>(answers: Vec<Result<T, Error>>, count: usize) -> Vec<Result<T, Error>> {
    if answers.len() == count {
        return answers;
    }
    let message = format!(
        "the store gave {} answers to {count} questions",
        answers.len()
    );
    let error = Error::new(ErrorKind::Protocol, message);
    (0..count).map(|_| Err(error.clone())).collect()
}

fn overtaken(tries: u32) -> Error {
    let message = format!("others changed the key {tries} times meanwhile");
    Error::new(ErrorKind::Overloaded, message)
}

impl<S: CasStore> Ask for Client<S> {
    type Question = Question;
    type Answer = Answers;
    /// The part of the store, and which of the calls that it may have under way.
    type Lane = (usize, u64);

    fn lane(&self, question: &Question) -> (usize, u64) {
        let part = self.store.part(&question.name);
        (
            part,
            self.spread.hash_one(&question.name) % self.calls.max(1),
        )
    }

    fn bound(&self) -> Duration {
        self.timeout
    }

    async fn ask(&self, questions: Vec<Question>) -> Vec<Result<Answers, Error>> {
        let mut told: Vec<_> = questions.iter().map(|_| Err(overtaken(0))).collect();
        let mut left = keys(&questions);
        let mut tries = 0;
        loop {
            left = self.attempt(&questions, left, &mut told).await;
            if left.is_empty() {
                return told;
            }
            tries += 1;
            let paused = if tries > self.retries {
                Err(overtaken(tries))
            } else {
                self.pause(tries).await
            };
            if let Err(error) = paused {
                for key in left {
                    key.fails(&error, &mut told);
                }
                return told;
            }
        }
    }
}

/// What is asked of one key.
pub(super) fn question(name: String, work: Owned) -> Option<Question> {
    let algorithm = work.with(|work: Work<'_>| {
        let mut checks = work.checks();
        checks.next().map(|check| check.policy.algorithm())
    })?;
    Some(Question {
        name,
        algorithm,
        work,
    })
}
