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
    holder: Holder,
}

impl<A: Ask> Turn<A> {
    /// The turn of a caller, which was counted already.
    pub(super) fn of_caller(inner: &Arc<Inner<A>>, lane: A::Lane) -> Self {
        Self {
            inner: Arc::clone(inner),
            lane,
            holder: Holder::Caller,
        }
    }

    /// Hands it to a task there. On a runtime that shuts down just now the task is dropped at once.
    fn hand_to(&self, runtime: &Handle) {
        let turn = Self {
            inner: Arc::clone(&self.inner),
            lane: self.lane,
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

    /// The next batch. If there is none, the turn is over.
    fn next(&mut self) -> Option<Batch<A>> {
        let mut state = self.inner.state();
        let lane = state.lanes.get_mut(&self.lane)?;
        if lane.queue.is_empty() {
            self.holder = Holder::Nobody;
            state.end_call(self.lane);
            return None;
        }
        let (batch, taken) = lane.take(self.inner.bounds.merged);
        state.waiting -= taken;
        Some(batch)
    }
}

impl<A: Ask> State<A> {
    /// One call less is under way.
    fn end_call(&mut self, number: A::Lane) {
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            if lane.in_flight == 0 && lane.queue.is_empty() {
                self.lanes.remove(&number);
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
        let next = lane.runtime();
        let mut gone = count(&forsaken);
        if next.is_none() {
            gone += count(&mem::take(&mut lane.queue));
            state.end_call(self.lane);
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
