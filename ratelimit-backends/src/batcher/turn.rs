//! [`Turn`]: one of the calls that a lane may have under way, from when it is taken to when it is free
//! again, whatever happens in between.

use core::mem;
use core::pin::pin;
use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::{Handle, Id};

use super::lane::{Batch, Waiting};
use super::{Ask, Inner, State, whole};
use crate::within::within;

/// Who holds it.
enum Holder {
    /// A caller, which asks its own questions.
    Caller,
    /// A task of that runtime, which asks what has queued until nothing has.
    Task(Id),
    /// Nobody: it was given back.
    Nobody,
}

/// The right to one call of a lane. Whoever waits when it ends is asked for by a task.
pub(super) struct Turn<A: Ask> {
    inner: Arc<Inner<A>>,
    lane: A::Lane,
    number: u64,
    holder: Holder,
}

impl<A: Ask> Turn<A> {
    /// The turn of a caller, which was counted already.
    pub(super) fn of_caller(inner: &Arc<Inner<A>>, lane: A::Lane, number: u64) -> Self {
        Self {
            inner: Arc::clone(inner),
            lane,
            number,
            holder: Holder::Caller,
        }
    }

    /// Hands it to a task there. On a runtime that shuts down just now the task is dropped at once.
    fn hand_to(&self, runtime: &Handle) {
        let turn = Self {
            inner: Arc::clone(&self.inner),
            lane: self.lane,
            number: self.number,
            holder: Holder::Task(runtime.id()),
        };
        runtime.spawn(turn.serve());
    }

    /// Asks what has queued until nothing has.
    async fn serve(mut self) {
        while let Some(batch) = self.next() {
            let Batch { questions, askers } = batch;
            if questions.is_empty() {
                continue;
            }
            let count = questions.len();
            let asks = &self.inner.asks;
            let answers = within(asks.bound(), pin!(asks.ask(questions))).await;
            let answers = match answers {
                Ok(answers) => whole(answers, count),
                Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
            };
            let mut answers = answers.into_iter();
            for (count, asker) in askers {
                // Who went away does not listen.
                let _ = asker.send(answers.by_ref().take(count).collect());
            }
            // Those who were just answered may ask again, and then are part of the next call.
            tokio::task::yield_now().await;
        }
    }

    /// The next batch. If there is none, or somebody else has the place, the turn is over.
    fn next(&mut self) -> Option<Batch<A>> {
        let mut state = self.inner.state();
        let lane = state.lanes.get_mut(&self.lane);
        let lane = lane.filter(|lane| !lane.queue.is_empty());
        let Some(lane) = lane.and_then(|lane| lane.renew(self.number).then_some(lane)) else {
            self.holder = Holder::Nobody;
            state.end_call(self.lane, self.number);
            return None;
        };
        let (batch, taken) = lane.take(self.inner.bounds.merged);
        state.waiting -= taken;
        Some(batch)
    }
}

impl<A: Ask> State<A> {
    /// One call less is under way.
    fn end_call(&mut self, key: A::Lane, number: u64) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.end(number);
            if lane.in_flight.is_empty() && lane.queue.is_empty() {
                self.lanes.remove(&key);
            }
        }
    }
}

/// A caller has its answers, or went away before; or a task was dropped before it was done.
impl<A: Ask> Drop for Turn<A> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        let Some(lane) = state.lanes.get_mut(&self.lane) else {
            return;
        };
        let forsaken = match self.holder {
            Holder::Caller => VecDeque::new(),
            // The runtime shuts down: who waits there is told so by the end of its sender.
            Holder::Task(runtime) => lane.take_waiting_at(runtime),
            Holder::Nobody => return,
        };
        let is_counted = lane.renew(self.number);
        let next = lane.runtime().filter(|_| is_counted);
        let mut gone = count(&forsaken);
        if is_counted && next.is_none() {
            gone += count(&mem::take(&mut lane.queue));
            state.end_call(self.lane, self.number);
        }
        state.waiting -= gone;
        drop(state);
        drop(forsaken);
        if let Some(runtime) = next {
            self.hand_to(&runtime);
        }
    }
}

fn count<A: Ask>(waiting: &VecDeque<Waiting<A>>) -> usize {
    waiting.iter().map(|it| it.questions.len()).sum()
}
