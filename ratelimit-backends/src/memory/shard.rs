//! A shard: the keys that one lock guards, and in which order they can be forgotten.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, HashMap};

use ratelimit_core::{KeyState, Limits, Timestamp};

use super::fingerprint::Fingerprint;
use super::kept::Kept;

/// Expired keys that are dropped for each new one, while there is room anyway.
const DROPPED_IN_PASSING: usize = 2;

/// Tables below this size are not worth shrinking.
const SMALL: usize = 1_024;

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// The instant under which this entry stands in the queue. It may be earlier than that from
    /// which the state is fresh, which moves with every charge.
    queued_at: Timestamp,
}

/// Keys, and the queue of those that can be forgotten, earliest first.
#[derive(Debug)]
pub(super) struct Shard {
    entries: HashMap<Fingerprint, Entry>,
    /// One item for each entry, and stale ones of entries that were removed.
    queue: BinaryHeap<Reverse<(Timestamp, Fingerprint)>>,
    max_keys: usize,
    /// Whether keys of this shard may have been admitted through an overflow bucket that is in use.
    pub(super) overflowed: bool,
    /// The latest instant that was seen, unless the clock stepped far back since.
    newest: Timestamp,
    /// The longest that any key was to be kept when it was last charged.
    longest: Duration,
}

impl Shard {
    pub(super) fn new(max_keys: usize) -> Self {
        Self {
            entries: HashMap::new(),
            queue: BinaryHeap::new(),
            max_keys,
            overflowed: false,
            newest: Timestamp::default(),
            longest: Duration::ZERO,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.max_keys
    }

    pub(super) fn get(&self, key: Fingerprint) -> Option<&Kept> {
        self.entries.get(&key).map(|entry| &entry.kept)
    }

    /// Lets a decision work on the state of a kept key.
    pub(super) fn decide<R>(
        &mut self,
        key: Fingerprint,
        limits: &Limits,
        now: Timestamp,
        decide: impl FnOnce(&mut KeyState) -> R,
    ) -> Option<R> {
        let kept = &mut self.entries.get_mut(&key)?.kept;
        let answer = kept.decide(limits, decide);
        let fresh_at = kept.fresh_at;
        self.saw(now, fresh_at);
        Some(answer)
    }

    /// Lets a correction work on the state of a kept key, which may make it fresh earlier.
    pub(super) fn adjust<R>(
        &mut self,
        key: Fingerprint,
        limits: &Limits,
        now: Timestamp,
        adjust: impl FnOnce(&mut KeyState) -> R,
    ) -> Option<R> {
        let kept = &mut self.entries.get_mut(&key)?.kept;
        let answer = kept.adjust(limits, adjust);
        let fresh_at = kept.fresh_at;
        self.saw(now, fresh_at);
        self.queue_again(key);
        Some(answer)
    }

    /// Puts back what [`get`](Self::get) said before the key was decided.
    pub(super) fn restore(&mut self, key: Fingerprint, kept: Option<Kept>) {
        match kept {
            None => self.remove(key),
            Some(kept) => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.kept = kept;
                    self.queue_again(key);
                }
            }
        }
    }

    /// Queues a key that may be fresh earlier than the queue says.
    fn queue_again(&mut self, key: Fingerprint) {
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.kept.fresh_at < entry.queued_at
        {
            entry.queued_at = entry.kept.fresh_at;
            self.queue.push(Reverse((entry.queued_at, key)));
            self.drop_stale_items();
        }
    }

    /// Keeps a new key. There must be [room](Self::make_room) for it.
    pub(super) fn insert(&mut self, key: Fingerprint, kept: Kept, now: Timestamp) {
        let queued_at = kept.fresh_at;
        self.saw(now, queued_at);
        self.entries.insert(key, Entry { kept, queued_at });
        self.queue.push(Reverse((queued_at, key)));
        self.drop_stale_items();
    }

    fn saw(&mut self, now: Timestamp, fresh_at: Timestamp) {
        // A state that lies ahead since the clock stepped back says nothing about what is usual.
        if now >= self.newest {
            self.newest = now;
            self.longest = self.longest.max(fresh_at.since(now));
        }
    }

    /// Makes the queue anew when most of it stands for what is gone.
    fn drop_stale_items(&mut self) {
        if self.queue.len() > 2 * self.entries.len() + SMALL {
            self.queue_all();
        }
    }

    fn queue_all(&mut self) {
        let items = self
            .entries
            .iter()
            .map(|(key, entry)| Reverse((entry.queued_at, *key)));
        self.queue = items.collect();
    }

    /// When the clock stepped back by more than any key was ever to be kept, no key is kept longer
    /// than that from now on; else all of them would be in the way until the clock is where it was.
    fn follow_back(&mut self, now: Timestamp) {
        if self.newest.since(now) <= self.longest {
            return;
        }
        let latest = now.plus(self.longest);
        for entry in self.entries.values_mut() {
            entry.kept.fresh_at = entry.kept.fresh_at.min(latest);
            entry.queued_at = entry.queued_at.min(latest);
        }
        self.queue_all();
        self.newest = now;
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
        if self.is_full() {
            self.follow_back(now);
        }
        !self.is_full()
    }

    /// Drops at most so many expired keys; answers how many.
    pub(super) fn drop_expired(&mut self, now: Timestamp, most: usize) -> usize {
        let dropped = (0..most).take_while(|_| self.drop_one(now)).count();
        self.shrink();
        dropped
    }

    /// How many keys [`drop_expired`](Self::drop_expired) would drop, given the time.
    pub(super) fn count_expired(&self, now: Timestamp) -> usize {
        let expired = |entry: &&Entry| entry.kept.fresh_at <= now && entry.queued_at <= now;
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
            if entry.kept.fresh_at <= now {
                self.entries.remove(&key);
                return true;
            }
            entry.queued_at = entry.kept.fresh_at;
            self.queue.push(Reverse((entry.kept.fresh_at, key)));
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
