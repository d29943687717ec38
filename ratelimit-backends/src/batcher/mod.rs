//! [`Batcher`]: merges what many callers ask a store at the same time into fewer, larger calls.
//!
//! A caller that finds fewer calls under way than there may be asks by itself and at once: nothing waits
//! for others to come. Only who comes while the store is busy is queued, and what has queued is asked
//! together as soon as a call ends. So batches grow with the load, and an idle store is as fast as without.
//!
//! Questions of one [lane](Ask::lane) can be asked in one call; each lane has its own calls and its own queue,
//! so that what is slow in one does not hold up another.
//!
//! A call is made by whoever polls its caller. One that is kept and not polled any longer, or is on a
//! runtime that stands still, does not end; so what is under way for longer than a call may
//! [take](Ask::bound) is not counted once somebody else comes. Those who were merged into it, or have
//! queued until then, wait for as long as they have said.

mod lane;
mod turn;

use core::fmt;
use core::future::Future;
use core::hash::Hash;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use ratelimit_core::{Error, ErrorKind};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use lane::{Lane, Waiting};
use turn::Turn;

/// What can be asked many questions in one call.
pub(crate) trait Ask: Send + Sync + 'static {
    type Question: Send + 'static;
    type Answer: Send + 'static;
    /// What questions of one call have in common.
    type Lane: Copy + Eq + Hash + Send + 'static;

    /// Which questions can be asked in one call: those of one lane.
    fn lane(&self, question: &Self::Question) -> Self::Lane;

    /// How long a call may take that is made for others: who makes it for himself knows how long he waits.
    fn bound(&self) -> Duration;

    /// One answer for each question, in order; all are of one lane.
    fn ask(
        &self,
        questions: Vec<Self::Question>,
    ) -> impl Future<Output = Vec<Result<Self::Answer, Error>>> + Send;
}

/// How much is asked at once, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Calls of one lane that are under way at the same time.
    pub(crate) in_flight: usize,
    /// Questions of several callers in one call.
    pub(crate) merged: usize,
    /// Questions of one caller in one call.
    pub(crate) largest: usize,
    /// Questions that wait.
    pub(crate) waiting: usize,
}

/// Merges what many callers ask.
pub(crate) struct Batcher<A: Ask> {
    inner: Arc<Inner<A>>,
}

struct Inner<A: Ask> {
    asks: A,
    bounds: Bounds,
    state: Mutex<State<A>>,
}

struct State<A: Ask> {
    /// Those in which something is under way.
    lanes: HashMap<A::Lane, Lane<A>, foldhash::fast::RandomState>,
    /// Questions that wait in all of them.
    waiting: usize,
    /// The number of the next turn.
    next: u64,
}

/// Questions of one lane, and where they stood.
type Group<A> = (<A as Ask>::Lane, Vec<usize>, Vec<<A as Ask>::Question>);

/// What became of a group of questions.
enum Placed<A: Ask> {
    /// The caller asks them itself, in the turn of that number.
    Mine(u64, Vec<A::Question>),
    /// Somebody else does.
    Queued(oneshot::Receiver<lane::Answers<A>>),
    TooMany,
}

impl<A: Ask> Batcher<A> {
    pub(crate) fn new(asks: A, bounds: Bounds) -> Self {
        let state = State {
            lanes: HashMap::default(),
            waiting: 0,
            next: 0,
        };
        Self {
            inner: Arc::new(Inner {
                asks,
                bounds,
                state: Mutex::new(state),
            }),
        }
    }

    pub(crate) fn asks(&self) -> &A {
        &self.inner.asks
    }

    /// One answer for each question, in order. Those of one lane are decided in order.
    ///
    /// A caller that goes away while its questions are asked does not take them back.
    pub(crate) async fn ask(
        &self,
        mut questions: Vec<A::Question>,
    ) -> Vec<Result<A::Answer, Error>> {
        let Some(first) = questions.first() else {
            return Vec::new();
        };
        let lane = self.asks().lane(first);
        if questions[1..].iter().all(|it| self.asks().lane(it) == lane) {
            return self.inner.ask_lane(lane, questions).await;
        }
        let count = questions.len();
        let mut groups: Vec<Group<A>> = Vec::new();
        let mut known: HashMap<A::Lane, usize> = HashMap::new();
        for (index, question) in questions.drain(..).enumerate() {
            let lane = self.asks().lane(&question);
            let group = *known.entry(lane).or_insert_with(|| {
                groups.push((lane, Vec::new(), Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(index);
            groups[group].2.push(question);
        }
        let asked = groups
            .into_iter()
            .map(|(lane, places, questions)| async move {
                (places, self.inner.ask_lane(lane, questions).await)
            });
        let mut answers: Vec<_> = (0..count).map(|_| Err(lost())).collect();
        for (places, group) in join_all(asked).await {
            for (place, answer) in places.into_iter().zip(group) {
                answers[place] = answer;
            }
        }
        answers
    }
}

impl<A: Ask> Inner<A> {
    fn state(&self) -> MutexGuard<'_, State<A>> {
        // Nothing that runs under the lock panics, and what it guards is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_lane(
        self: &Arc<Self>,
        lane: A::Lane,
        mut questions: Vec<A::Question>,
    ) -> Vec<Result<A::Answer, Error>> {
        let largest = self.bounds.largest.max(1);
        if questions.len() <= largest {
            return self.ask_group(lane, questions).await;
        }
        // One after the other, as the questions of one key are decided in order.
        let mut answers = Vec::with_capacity(questions.len());
        while !questions.is_empty() {
            let rest = questions.split_off(largest.min(questions.len()));
            answers.extend(self.ask_group(lane, questions).await);
            questions = rest;
        }
        answers
    }

    async fn ask_group(
        self: &Arc<Self>,
        lane: A::Lane,
        questions: Vec<A::Question>,
    ) -> Vec<Result<A::Answer, Error>> {
        let count = questions.len();
        let Ok(runtime) = Handle::try_current() else {
            // Who waits outside of any runtime could not let others go on.
            return whole(self.asks.ask(questions).await, count);
        };
        match self.place(lane, questions, runtime) {
            Placed::Mine(number, questions) => {
                let turn = Turn::of_caller(self, lane, number);
                let answers = self.asks.ask(questions).await;
                drop(turn);
                whole(answers, count)
            }
            Placed::Queued(answers) => match answers.await {
                Ok(answers) => whole(answers, count),
                Err(_) => (0..count).map(|_| Err(forsaken())).collect(),
            },
            Placed::TooMany => {
                let error = self.too_many();
                (0..count).map(|_| Err(error.clone())).collect()
            }
        }
    }

    /// Takes a call if one is free, or a place in the queue.
    fn place(&self, lane: A::Lane, questions: Vec<A::Question>, runtime: Handle) -> Placed<A> {
        let now = Instant::now();
        let most = self.bounds.in_flight.max(1);
        let mut state = self.state();
        let State {
            lanes,
            waiting,
            next,
        } = &mut *state;
        let lane = lanes.entry(lane).or_default();
        if lane.in_flight.len() >= most {
            lane.forget_idle(self.asks.bound(), now);
        }
        if lane.in_flight.len() < most {
            *next += 1;
            lane.in_flight.push((*next, now));
            return Placed::Mine(*next, questions);
        }
        if waiting.saturating_add(questions.len()) > self.bounds.waiting {
            // Who has gone away does not need a place.
            *waiting -= lane.forget_closed();
            if waiting.saturating_add(questions.len()) > self.bounds.waiting {
                return Placed::TooMany;
            }
        }
        let (sender, receiver) = oneshot::channel();
        *waiting += questions.len();
        lane.queue.push_back(Waiting {
            questions,
            sender,
            runtime,
        });
        Placed::Queued(receiver)
    }

    fn too_many(&self) -> Error {
        let message = format!(
            "{} questions wait for the store already",
            self.bounds.waiting
        );
        Error::new(ErrorKind::Overloaded, message)
    }
}

/// The answers, if there is one for each question.
fn whole<T>(answers: Vec<Result<T, Error>>, count: usize) -> Vec<Result<T, Error>> {
    if answers.len() == count {
        return answers;
    }
    (0..count).map(|_| Err(lost())).collect()
}

fn lost() -> Error {
    Error::new(ErrorKind::Protocol, "the answer was lost")
}

/// What those are told whose questions were with somebody who has gone.
fn forsaken() -> Error {
    Error::new(
        ErrorKind::Connection,
        "the task that asked the store has ended",
    )
}

impl<A: Ask> fmt::Debug for Batcher<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state();
        f.debug_struct("Batcher")
            .field("bounds", &self.inner.bounds)
            .field("lanes", &state.lanes.len())
            .field("waiting", &state.waiting)
            .finish()
    }
}

#[cfg(test)]
mod tests;
