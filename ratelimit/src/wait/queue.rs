//! The queues: who waits for a place under which policy and key, in which order, and what is known
//! of it.
//!
//! One lock guards all of them; it is held for a few moves, and never while anything is asked or
//! woken. Nothing here reads a clock.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::collections::{HashMap, VecDeque, hash_map};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ratelimit_core::{Decision, Error, ErrorKind, KeyBuf, Quota, Timestamp};

/// Every queue of a registry. Only those exist in which somebody waits.
#[derive(Debug)]
pub(crate) struct Queues {
    max_waiters: usize,
    /// How many wait, so that a call finds out without a lock that nobody does.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<KeyBuf, Queue>,
    last_id: u64,
}

/// Those who wait for one policy and key on one backend, the first one first.
#[derive(Debug)]
struct Queue {
    /// In the order of their ids, too.
    slots: VecDeque<Slot>,
    known: Known,
    /// When the first is to ask; `None` where it has not asked yet, or is asking.
    asks_at: Option<Timestamp>,
}

/// The latest denial, and when it was.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) decision: Decision,
    pub(super) at: Timestamp,
}

/// What is known of one who waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) deadline: Timestamp,
    pub(super) cost: u32,
    /// Every call has the same limits, so that one that costs as much waits as long.
    pub(super) comparable: bool,
}

#[derive(Debug)]
struct Slot {
    id: u64,
    waiter: Waiter,
    waker: Option<Waker>,
    /// It is to leave.
    out: Option<Out>,
}

/// Why one leaves that was not admitted.
#[derive(Clone, Debug)]
pub(super) enum Out {
    /// It would wait in vain, or has waited as long as it may.
    Limited(Decision),
    /// The backend failed.
    Failed(Error),
}

/// What one who waits is to do now.
#[derive(Debug)]
pub(super) enum Look {
    /// It is the first, and its time has come.
    Ask,
    Leave(Out),
    /// Nothing until then, unless it is woken before.
    Sleep(Timestamp),
}

impl Known {
    /// The same as it stands later.
    fn at(&self, now: Timestamp) -> Decision {
        let passed = now.since(self.at);
        let quotas: Vec<_> = self
            .decision
            .quotas()
            .map(|quota| {
                let left = |time: Duration| time.saturating_sub(passed);
                let (retry_after, reset_after) = (left(quota.retry_after), left(quota.reset_after));
                Quota::new(quota.limit, quota.remaining, retry_after, reset_after)
            })
            .collect();
        let known = &self.decision;
        Decision::new(
            known.outcome(),
            known.source(),
            &quotas,
            known.charge().clone(),
        )
    }
}

impl Queues {
    pub(crate) fn new(max_waiters: usize) -> Self {
        Self {
            max_waiters,
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// How many wait, in all queues.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// How many queues there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().queues.len()
    }

    /// A place behind those who wait already, if any do; or what is known, where there is no room
    /// or it would be in vain.
    pub(super) fn join(
        &self,
        key: &KeyBuf,
        waiter: Waiter,
        now: Timestamp,
    ) -> Result<Option<u64>, Decision> {
        let mut state = self.lock();
        let State { queues, last_id } = &mut *state;
        let Some(queue) = queues.get_mut(key) else {
            return Ok(None);
        };
        if !queue.has_room_for(waiter, self.max_waiters) {
            return Err(queue.known.at(now));
        }
        *last_id += 1;
        queue.push(*last_id, waiter);
        self.waiting.fetch_add(1, Ordering::Release);
        Ok(Some(*last_id))
    }

    /// A place for one who was denied, until `retry_at`: at the end of the queue, which may be new.
    /// Nothing where there is no room, or it would be in vain.
    pub(super) fn enter(
        &self,
        key: &KeyBuf,
        waiter: Waiter,
        denial: Known,
        retry_at: Timestamp,
    ) -> Option<u64> {
        if retry_at > waiter.deadline || self.max_waiters == 0 {
            return None;
        }
        let mut state = self.lock();
        let State { queues, last_id } = &mut *state;
        let id = *last_id + 1;
        match queues.entry(key.clone()) {
            hash_map::Entry::Occupied(mut entry) => {
                let queue = entry.get_mut();
                if !queue.has_room_for(waiter, self.max_waiters) {
                    return None;
                }
                queue.known = denial;
                queue.push(id, waiter);
            }
            hash_map::Entry::Vacant(entry) => {
                let queue = entry.insert(Queue {
                    slots: VecDeque::new(),
                    known: denial,
                    asks_at: Some(retry_at),
                });
                queue.push(id, waiter);
            }
        }
        *last_id = id;
        self.waiting.fetch_add(1, Ordering::Release);
        Some(id)
    }

    /// What this one is to do now. If it is to sleep, it is woken by this waker when that changes.
    pub(super) fn look(&self, key: &KeyBuf, id: u64, now: Timestamp, waker: &Waker) -> Look {
        let mut state = self.lock();
        let Some((queue, place)) = state.find(key, id) else {
            // Whoever has a place is in its queue until it leaves.
            let error = Error::new(ErrorKind::Other, "a place in a queue was lost");
            return Look::Leave(Out::Failed(error));
        };
        let slot = &mut queue.slots[place];
        if let Some(out) = slot.out.take() {
            return Look::Leave(out);
        }
        let until = match (place, queue.asks_at) {
            (0, Some(at)) if now >= at => {
                queue.asks_at = None;
                return Look::Ask;
            }
            // Its own denial said that this is within its time.
            (0, Some(at)) => at,
            (0, None) if now <= slot.waiter.deadline => return Look::Ask,
            _ if now > slot.waiter.deadline => {
                return Look::Leave(Out::Limited(queue.known.at(now)));
            }
            // At the deadline itself, the first may yet make room.
            _ => slot.waiter.deadline.plus(Duration::from_nanos(1)),
        };
        let same = slot.waker.as_ref().is_some_and(|old| old.will_wake(waker));
        let old = if same {
            None
        } else {
            slot.waker.replace(waker.clone())
        };
        drop(state);
        // A waker may own a task, whose end is not to happen under the lock.
        drop(old);
        Look::Sleep(until)
    }

    /// The first was denied until `retry_at`. Says whether it stays; those leave whom it keeps
    /// waiting in vain.
    pub(super) fn denied(&self, key: &KeyBuf, id: u64, denial: Known, retry_at: Timestamp) -> bool {
        let mut state = self.lock();
        let Some((queue, place)) = state.find(key, id) else {
            return false;
        };
        let first = queue.slots[place].waiter;
        let stays = retry_at <= first.deadline;
        let mut woken = Vec::new();
        for slot in queue.slots.range_mut(place + 1..) {
            let other = slot.waiter;
            // Behind one that leaves, only who costs less may be admitted earlier.
            let as_long = stays || (first.comparable && other.cost >= first.cost);
            if as_long && other.deadline < retry_at && slot.out.is_none() {
                slot.out = Some(Out::Limited(denial.decision.clone()));
                woken.extend(slot.waker.take());
            }
        }
        queue.known = denial;
        if stays {
            queue.asks_at = Some(retry_at);
        }
        drop(state);
        wake_all(woken);
        stays
    }

    /// The backend failed. Everybody behind waits for the same one.
    pub(super) fn failed(&self, key: &KeyBuf, id: u64, error: &Error) {
        let mut state = self.lock();
        let mut woken = Vec::new();
        if let Some((queue, place)) = state.find(key, id) {
            for slot in queue.slots.range_mut(place + 1..) {
                slot.out.get_or_insert_with(|| Out::Failed(error.clone()));
                woken.extend(slot.waker.take());
            }
        }
        drop(state);
        wake_all(woken);
    }

    /// This one is gone. If it was the first, the next one is woken.
    pub(super) fn leave(&self, key: &KeyBuf, id: u64) {
        let mut state = self.lock();
        let Some((queue, place)) = state.find(key, id) else {
            return;
        };
        let gone = queue.slots.remove(place);
        let mut next = None;
        if place == 0 {
            queue.asks_at = None;
            next = queue.slots.front_mut().and_then(|slot| slot.waker.take());
        }
        if queue.slots.is_empty() {
            state.queues.remove(key);
        }
        self.waiting.fetch_sub(1, Ordering::Release);
        drop(state);
        drop(gone);
        wake_all(next);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, key: &KeyBuf, id: u64) -> Option<(&mut Queue, usize)> {
        let queue = self.queues.get_mut(key)?;
        let place = queue.slots.binary_search_by_key(&id, |slot| slot.id).ok()?;
        Some((queue, place))
    }
}

impl Queue {
    /// Whether one more may wait here, and not in vain.
    fn has_room_for(&self, waiter: Waiter, max_waiters: usize) -> bool {
        let in_vain = self.asks_at.is_some_and(|at| at > waiter.deadline);
        self.slots.len() < max_waiters && !in_vain
    }

    fn push(&mut self, id: u64, waiter: Waiter) {
        self.slots.push_back(Slot {
            id,
            waiter,
            waker: None,
            out: None,
        });
    }
}

fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests;
