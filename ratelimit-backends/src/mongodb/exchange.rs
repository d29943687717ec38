//! Questions whose answers are worked out here: what is there is read, and replaced if nobody else changed it since.

use core::time::Duration;

use ratelimit_core::{Adjust, Algorithm, Answers, Check, Decision, Error, Join, KeyState, Limit};

use super::ask::Client;
use super::document::{Stored, fields, version};
use super::errors::{Failure, nonsense};
use super::pipeline::{removed_at, slack};
use super::store::{Looked, Swap};
use crate::stepwise::{Batch, Found, Work, stored};
use crate::within::sleep;

/// How often something is tried that others prevented.
const TRIES: u32 = 64;

/// The longest that is waited before it is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// How many bytes of states one answer may have; the server allows for 16 million.
const MOST_BYTES: usize = 8_000_000;

/// What a log has for each entry.
const ENTRY: usize = 16;

/// How far a state may lie ahead without a step back of the clock: of two calls at the same time the one that read it first may
/// come last.
const SLACK: Duration = Duration::from_secs(1);

/// What became of one key.
struct Step {
    answers: Answers,
    swap: Option<Swap>,
}

impl Client {
    /// Answers each question by itself. What was looked at already need not be looked at again.
    pub(super) async fn exchange(&self, work: Work<'_>, mut looked: Option<Looked>) -> Answers {
        let batch = self.batch(work);
        let mut answers: Vec<Option<Result<Decision, Error>>> = vec![None; batch.places.len()];
        let of_key = questions(&batch);
        let mut left: Vec<usize> = (0..batch.names.len()).collect();
        let mut tries = 0;
        while !left.is_empty() {
            let later = left.split_off(self.fitting(&left, work, &of_key));
            let round = match looked.take() {
                Some(looked) => Ok(looked),
                None => {
                    let names = || left.iter().map(|key| &*batch.names[*key]).collect();
                    self.again_and_again(|| self.store.look(names())).await
                }
            };
            let exchanged = match round {
                Ok(looked) => self.round(&looked, &batch, &left, work, &of_key).await,
                Err(error) => Err(error),
            };
            let overtaken = match exchanged {
                Ok((done, overtaken)) => {
                    for (place, answer) in done {
                        answers[place] = Some(answer);
                    }
                    overtaken
                }
                Err(error) => {
                    // What was decided already stands.
                    fill(&mut answers, &error);
                    break;
                }
            };
            if !overtaken.is_empty() {
                tries += 1;
                if tries == TRIES {
                    fill(&mut answers, &Failure::overtaken().error);
                    break;
                }
                if let Err(error) = self.pause(tries).await {
                    fill(&mut answers, &error);
                    break;
                }
            }
            left = overtaken;
            left.extend(later);
        }
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.unwrap_or_else(|| Err(nonsense())))
            .collect()
    }

    /// Works on the keys that were looked at. Answers what has been decided, and which keys others have changed.
    #[allow(clippy::type_complexity)] // answers by their places, and keys
    async fn round(
        &self,
        looked: &Looked,
        batch: &Batch,
        keys: &[usize],
        work: Work<'_>,
        of_key: &[Vec<usize>],
    ) -> Result<(Vec<(usize, Result<Decision, Error>)>, Vec<usize>), Error> {
        let (mut done, mut overtaken) = (Vec::new(), Vec::new());
        let (mut swaps, mut waiting) = (Vec::new(), Vec::new());
        for key in keys {
            let places = &of_key[*key];
            let step = self.step(looked, batch, *key, part(work, places).as_work());
            let answers = places.iter().copied().zip(step.answers);
            match step.swap {
                Some(swap) => {
                    swaps.push(swap);
                    waiting.push((*key, answers.collect::<Vec<_>>()));
                }
                None => done.extend(answers),
            }
        }
        if !swaps.is_empty() {
            let swapped = self.again_and_again(|| self.store.swap(&swaps)).await?;
            for ((key, answers), swapped) in waiting.into_iter().zip(swapped) {
                match swapped {
                    Ok(true) => done.extend(answers),
                    Ok(false) => overtaken.push(key),
                    Err(error) => {
                        let failed = |(place, _)| (place, Err(error.clone()));
                        done.extend(answers.into_iter().map(failed));
                    }
                }
            }
        }
        Ok((done, overtaken))
    }

    /// What the questions to one key make of it.
    fn step(&self, looked: &Looked, batch: &Batch, key: usize, work: Work<'_>) -> Step {
        let nothing = Stored::nothing();
        let found = looked.found.get(&batch.names[key]).unwrap_or(&nothing);
        let one = Batch {
            names: vec![batch.names[key].clone()],
            algorithms: vec![batch.algorithms[key]],
            places: vec![0; work.checks().count()],
        };
        let values = [found.state.as_deref()];
        let read = Found::of(looked.now, values.into_iter(), &one.algorithms);
        let mut read = read.with_slack(self.slack());
        let before = read.states[0].clone();
        let answers = read.answer(work, &one, &self.capabilities);
        let slack = work.checks().map(slack).min().unwrap_or_default();
        let swap = self.swap(looked, (&one, &read, 0), found, &before, slack);
        Step { answers, swap }
    }

    /// The document that takes the place of what was found of a key, if its state has changed.
    fn swap(
        &self,
        looked: &Looked,
        (batch, read, key): (&Batch, &Found, usize),
        found: &Stored,
        before: &KeyState,
        slack: i64,
    ) -> Option<Swap> {
        if !read.is_sound(key) || read.states[key] == *before {
            return None;
        }
        let injected = self.store.clock.is_some();
        let (state, keep) = stored(&read.states[key], read.now, injected);
        let now = if injected {
            looked.server_now
        } else {
            i64::try_from(read.now.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
        };
        let over = now.saturating_add_unsigned(keep);
        Some(Swap {
            name: batch.names[key].clone(),
            found: found.version,
            version: version(),
            expires: if state.is_empty() {
                over
            } else {
                removed_at(over, slack)
            },
            fields: fields(&state),
        })
    }

    /// Checks that are one decision. What several keys are charged is one transaction.
    pub(super) async fn exchange_all(&self, checks: &[Check<'_>]) -> Result<Answers, Error> {
        let work = Work::Decide(checks, Join::All);
        let batch = self.batch(work);
        if batch.names.is_empty() {
            return Ok(Answers::new());
        }
        let mut alone = None;
        for tries in 1..=TRIES {
            let names = || batch.names.iter().map(|name| &**name).collect();
            let looked = self.again_and_again(|| self.store.look(names())).await?;
            let nothing = Stored::nothing();
            let found: Vec<_> = batch
                .names
                .iter()
                .map(|name| looked.found.get(name).unwrap_or(&nothing))
                .collect();
            let values = found.iter().map(|it| it.state.as_deref());
            let read = Found::of(looked.now, values, &batch.algorithms);
            let mut read = read.with_slack(self.slack());
            let before = read.states.clone();
            let answers = read.answer(work, &batch, &self.capabilities);
            let slack = checks.iter().map(slack).min().unwrap_or_default();
            let keys = found.iter().zip(&before).enumerate();
            let swaps = keys.filter_map(|(key, (found, before))| {
                self.swap(&looked, (&batch, &read, key), found, before, slack)
            });
            let swaps: Vec<_> = swaps.collect();
            let swapped = match &swaps[..] {
                [] => return Ok(answers),
                [_] => self.store.swap(&swaps).await.and_then(|swapped| {
                    let one = swapped.into_iter().next().unwrap_or(Ok(false));
                    one.map_err(Failure::from)
                }),
                _ => self.store.swap_all(&swaps).await,
            };
            match swapped {
                Ok(true) => return Ok(answers),
                Ok(false) => {}
                Err(failure) if failure.again => {}
                Err(failure) => return Err(failure.error),
            }
            // Those of one process would only be in each other's way.
            if alone.is_none() {
                alone = Some(self.exchanging.lock().await);
            }
            self.pause(tries).await?;
        }
        Err(Failure::overtaken().error)
    }

    /// How far a state may lie ahead without a step back of the clock.
    fn slack(&self) -> Duration {
        match self.store.clock {
            Some(_) => Duration::ZERO,
            None => SLACK,
        }
    }

    /// How many of these keys can be looked at together: one at least.
    fn fitting(&self, keys: &[usize], work: Work<'_>, of_key: &[Vec<usize>]) -> usize {
        let checks: Vec<_> = work.checks().collect();
        let mut bytes = 0;
        let within = |key: &&usize| {
            let first = of_key[**key].first().map(|place| checks[*place]);
            bytes += first.map_or(0, |check| self.largest(check));
            bytes <= MOST_BYTES
        };
        keys.iter()
            .take_while(within)
            .count()
            .max(1)
            .min(keys.len())
    }

    /// How many bytes a check's state has at most, about.
    fn largest(&self, check: &Check<'_>) -> usize {
        let limits = check.limits.as_slice();
        if check.policy.algorithm() != Algorithm::SlidingWindow {
            return 1_000;
        }
        let entries = |limit: &Limit| limit.rate().limit().min(self.capabilities.max_log);
        let entries = limits.iter().map(entries).map(|it| it as usize);
        1_000 + ENTRY * entries.sum::<usize>()
    }

    /// Tries something that others may prevent. Nothing was done then.
    pub(super) async fn again_and_again<T, F>(
        &self,
        mut work: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        for tries in 1.. {
            match work().await {
                Ok(done) => return Ok(done),
                Err(failure) if failure.again && tries < TRIES => self.pause(tries).await?,
                Err(failure) => return Err(failure.error),
            }
        }
        Err(nonsense())
    }

    async fn pause(&self, tries: u32) -> Result<(), Error> {
        if tries > 1 {
            sleep(PAUSE.mul_f64(fastrand::f64()))?.await;
        }
        Ok(())
    }

    fn batch(&self, work: Work<'_>) -> Batch {
        Batch::of(work.checks(), |check| self.name(check))
    }
}

/// The places of the questions to each key.
fn questions(batch: &Batch) -> Vec<Vec<usize>> {
    let mut of_key = vec![Vec::new(); batch.names.len()];
    for (place, key) in batch.places.iter().enumerate() {
        of_key[*key].push(place);
    }
    of_key
}

/// Some of the questions.
enum Part<'a> {
    Decide(Vec<Check<'a>>, Join),
    Peek(Vec<Check<'a>>),
    Adjust(Vec<Adjust<'a>>),
}

fn part<'a>(work: Work<'a>, places: &[usize]) -> Part<'a> {
    match work {
        Work::Decide(checks, join) => {
            Part::Decide(places.iter().map(|place| checks[*place]).collect(), join)
        }
        Work::Peek(checks) => Part::Peek(places.iter().map(|place| checks[*place]).collect()),
        Work::Adjust(adjusts) => {
            Part::Adjust(places.iter().map(|place| adjusts[*place].clone()).collect())
        }
    }
}

impl<'a> Part<'a> {
    fn as_work(&'a self) -> Work<'a> {
        match self {
            Self::Decide(checks, join) => Work::Decide(checks, *join),
            Self::Peek(checks) => Work::Peek(checks),
            Self::Adjust(adjusts) => Work::Adjust(adjusts),
        }
    }
}

fn fill(answers: &mut [Option<Result<Decision, Error>>], error: &Error) {
    for answer in answers.iter_mut().filter(|it| it.is_none()) {
        *answer = Some(Err(error.clone()));
    }
}
