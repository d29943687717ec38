//! A shard: the keys that one lock guards, and in which order they can be forgotten.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use ratelimit_core::{KeyState, Limits, Timestamp};

use super::fingerprint::Fingerprint;

/// Expired keys that are dropped for each new one, while there is room anyway.
const DROPPED_IN_PASSING: usize = 2;

/// Tables below this size are not worth shrinking.
const SMALL: usize = 1_024;

#[derive(Debug)]
struct Entry {
    state: KeyState,
    /// From when on the state equals a fresh key's.
    fresh_at: Timestamp,
    /// The instant under which this entry stands in the queue. It may be earlier than `fresh_at`,
    /// which moves with every charge.
    queued_at: Timestamp,
}

/// Keys, and the queue of those that can be forgotten, earliest first.
#[derive(Debug)]
pub(super) struct Shard {
    entries: HashMap<Fingerprint, Entry>,
    /// One item for each entry, and stale ones of entries that were removed.
    queue: BinaryHeap<Reverse<(Timestamp, Fingerprint)>>,
    max_keys: usize,
}

impl Shard {
    pub(super) fn new(max_keys: usize) -> Self {
        Self {
            entries: HashMap::new(),
            queue: BinaryHeap::new(),
            max_keys,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn get(&self, key: Fingerprint) -> Option<&KeyState> {
        self.entries.get(&key).map(|entry| &entry.state)
    }

    /// Lets a decision work on the state of a kept key.
    pub(super) fn decide<R>(
        &mut self,
        key: Fingerprint,
        limits: &Limits,
        decide: impl FnOnce(&mut KeyState) -> R,
    ) -> Option<R> {
        let entry = self.entries.get_mut(&key)?;
        let answer = decide(&mut entry.state);
        // Calls of one key may bring different limits: what one of them remembers longer stays.
        entry.fresh_at = entry.fresh_at.max(entry.state.fresh_at(limits));
        Some(answer)
    }

    /// Lets a correction work on the state of a kept key, which may make it fresh earlier.
    pub(super) fn adjust<R>(
        &mut self,
        key: Fingerprint,
        limits: &Limits,
        adjust: impl FnOnce(&mut KeyState) -> R,
    ) -> Option<R> {
        let entry = self.entries.get_mut(&key)?;
        let answer = adjust(&mut entry.state);
        entry.fresh_at = entry.state.fresh_at(limits);
        if entry.fresh_at < entry.queued_at {
            entry.queued_at = entry.fresh_at;
            self.queue.push(Reverse((entry.fresh_at, key)));
            self.drop_stale_items();
        }
        Some(answer)
    }

    /// Keeps a new key. There must be [room](Self::make_room) for it.
    pub(super) fn insert(&mut self, key: Fingerprint, state: KeyState, limits: &Limits) {
        let fresh_at = state.fresh_at(limits);
        self.entries.insert(
            key,
            Entry {
                state,
                fresh_at,
                queued_at: fresh_at,
            },
        );
        self.queue.push(Reverse((fresh_at, key)));
        self.drop_stale_items();
    }

    /// Makes the queue anew when most of it stands for what is gone.
    fn drop_stale_items(&mut self) {
        if self.queue.len() > 2 * self.entries.len() + SMALL {
            let items = self
                .entries
                .iter()
                .map(|(key, entry)| Reverse((entry.queued_at, *key)));
            self.queue = items.collect();
        }
    }

    pub(super) fn remove(&mut self, key: Fingerprint) {
        self.entries.remove(&key);
    }

    /// Drops a few expired keys and, when the shard is full, as many as it takes until there is
    /// room for one more; `false` when every kept key is live.
    pub(super) fn make_room(&mut self, now: Timestamp) -> bool {
        for _ in 0..DROPPED_IN_PASSING {
            if !self.drop_one(now) {
                break;
            }
        }
        self.shrink();
        self.entries.len() < self.max_keys
    }

    /// Drops at most so many expired keys; answers how many.
    pub(super) fn drop_expired(&mut self, now: Timestamp, most: usize) -> usize {
        let dropped = (0..most).take_while(|_| self.drop_one(now)).count();
        self.shrink();
        dropped
    }

    /// How many keys [`drop_expired`](Self::drop_expired) would drop, given the time.
    pub(super) fn count_expired(&self, now: Timestamp) -> usize {
        let expired = |entry: &&Entry| entry.fresh_at <= now && entry.queued_at <= now;
        self.entries.values().filter(expired).count()
    }

    /// Drops one expired key, if there is one.
    ///
    /// Items whose key has been charged since they were queued are queued again; each charge pays
    /// for at most one such step, so that this takes constant time, amortised.
    fn drop_one(&mut self, now: Timestamp) -> bool {
        while let Some(Reverse((queued_at, key))) = self.queue.peek().copied() {
            if queued_at > now {
                return false;
            }
            self.queue.pop();
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            if entry.queued_at != queued_at {
                continue;
            }
            if entry.fresh_at <= now {
                self.entries.remove(&key);
                return true;
            }
            entry.queued_at = entry.fresh_at;
            self.queue.push(Reverse((entry.fresh_at, key)));
        }
        false
    }

    /// Gives memory back after a flood.
    fn shrink(&mut self) {
        let needed = self.entries.len() * 2;
        if self.entries.capacity() > SMALL && self.entries.capacity() / 8 > self.entries.len() {
            self.entries.shrink_to(needed);
            self.queue.shrink_to(needed);
        }
    }
}
