//! [`Lane`]: questions that can be asked in one call, and those who wait for it.

use core::mem;
use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use ratelimit_core::Error;
use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use super::Ask;

pub(super) type Answers<A> = Vec<Result<<A as Ask>::Answer, Error>>;

pub(super) struct Lane<A: Ask> {
    /// Calls that are under way, and since when: each has its number.
    pub(super) in_flight: Vec<(u64, Instant)>,
    pub(super) queue: VecDeque<Waiting<A>>,
}

/// A caller's questions, and where it waits for the answers.
pub(super) struct Waiting<A: Ask> {
    pub(super) questions: Vec<A::Question>,
    pub(super) sender: oneshot::Sender<Answers<A>>,
    /// Where it waits: as long as it does, something can be done there.
    pub(super) runtime: Handle,
}

/// Questions of one or several callers, for one call.
pub(super) struct Batch<A: Ask> {
    pub(super) questions: Vec<A::Question>,
    /// Who asked how many of them.
    pub(super) askers: Vec<(usize, oneshot::Sender<Answers<A>>)>,
}

impl<A: Ask> Default for Lane<A> {
    fn default() -> Self {
        Self {
            in_flight: Vec::new(),
            queue: VecDeque::new(),
        }
    }
}

impl<A: Ask> Lane<A> {
    /// Begins the next call of a turn, if it is still counted.
    pub(super) fn renew(&mut self, number: u64) -> bool {
        let known = self.in_flight.iter_mut().find(|(it, _)| *it == number);
        known.map(|(_, since)| *since = Instant::now()).is_some()
    }

    /// Ends a turn, if it is still counted.
    pub(super) fn end(&mut self, number: u64) -> bool {
        let place = self.in_flight.iter().position(|(it, _)| *it == number);
        place.map(|it| self.in_flight.remove(it)).is_some()
    }

    /// No longer counts a turn that has taken longer than a call may: nobody polls it.
    pub(super) fn forget_idle(&mut self, bound: Duration, now: Instant) {
        let is_idle = |(_, since): &(u64, Instant)| now.duration_since(*since) > bound;
        if let Some(place) = self.in_flight.iter().position(is_idle) {
            self.in_flight.remove(place);
        }
    }

    /// Takes the questions of those who came first: of one caller, and of more while they are not too many.
    /// Also says how many no longer wait.
    pub(super) fn take(&mut self, merged: usize) -> (Batch<A>, usize) {
        let mut batch = Batch {
            questions: Vec::new(),
            askers: Vec::new(),
        };
        let mut taken = 0;
        while let Some(next) = self.queue.front() {
            let count = next.questions.len();
            if !batch.askers.is_empty() && batch.questions.len() + count > merged {
                break;
            }
            let Some(next) = self.queue.pop_front() else {
                break;
            };
            taken += count;
            // Nobody listens to the answers of a caller that went away.
            if !next.sender.is_closed() {
                batch.askers.push((count, next.sender));
                batch.questions.extend(next.questions);
            }
        }
        (batch, taken)
    }

    /// A runtime on which what waits can be asked for.
    pub(super) fn runtime(&self) -> Option<Handle> {
        let mut alive = self.queue.iter().filter(|it| !it.sender.is_closed());
        alive.next().map(|it| it.runtime.clone())
    }

    /// Takes those who wait on that runtime.
    pub(super) fn take_waiting_at(&mut self, runtime: Id) -> VecDeque<Waiting<A>> {
        let (there, others) = mem::take(&mut self.queue)
            .into_iter()
            .partition(|it| it.runtime.id() == runtime);
        self.queue = others;
        there
    }

    /// Forgets callers that went away, and says how many questions those were.
    pub(super) fn forget_closed(&mut self) -> usize {
        let mut forgotten = 0;
        self.queue.retain(|waiting| {
            let stays = !waiting.sender.is_closed();
            if !stays {
                forgotten += waiting.questions.len();
            }
            stays
        });
        forgotten
    }
}
