//! The states of keys: where they are, how they are packed, and how many there are.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ratelimit_core::algorithm::{Packing, WholeBucket};
use ratelimit_core::{KeyState, Limits, Policy, Timestamp};

use super::line::{Head, LockedLine, Seen};
use super::locked::{Locked, Place};
use super::packings::{Packings, UNPACKED};
use super::table::{Table, tag};
use super::unpacked::Unpacked;
use crate::hash::Fingerprint;

/// Everything that is kept. It knows states, but not what is decided with them.
#[derive(Debug)]
pub(super) struct States {
    pub(super) table: Table,
    packings: Packings,
    unpacked: Unpacked,
    /// Instants in words are counted from here.
    epoch: Timestamp,
    max_keys: usize,
    /// Written for keys that come and go, and by nobody who finds a key: on a cache line of its own.
    kept: Apart<AtomicUsize>,
    /// What an injected clock has shown; see [`saw`](Self::saw).
    newest: AtomicU64,
    longest: AtomicU64,
}

/// A value with a cache line to itself, and the line that is fetched along with it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

impl States {
    pub(super) fn new(max_keys: usize, epoch: Timestamp) -> Self {
        Self {
            table: Table::new(max_keys),
            packings: Packings::new(),
            unpacked: Unpacked::new(),
            epoch,
            max_keys,
            kept: Apart::default(),
            newest: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }
    }

    pub(super) fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// How many keys are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept.0.load(Ordering::Relaxed)
    }

    /// Counts a key more, if there may be one.
    pub(super) fn count_one(&self) -> bool {
        let more = |kept| (kept < self.max_keys).then_some(kept + 1);
        let counted = self
            .kept
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.is_ok()
    }

    /// Counts a key less.
    pub(super) fn count_one_less(&self) {
        self.kept.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The packing of a slot, unless it is [unpacked](Self::is_unpacked).
    #[inline(always)]
    pub(super) fn packing(&self, head: Head) -> Option<&Packing> {
        self.packings.get(head.packing())
    }

    /// The bucket of a policy whose states are all packed alike, and the number of that packing.
    pub(super) fn whole_bucket(&self, policy: &Policy) -> Option<(WholeBucket, u8)> {
        let packing = Packing::of(policy.algorithm(), policy.limits(), self.epoch)?;
        let bucket = packing.whole_bucket(policy.limits())?;
        Some((bucket, self.packings.number(&packing)?))
    }

    pub(super) fn is_unpacked(seen: &Seen) -> bool {
        seen.head.packing() == UNPACKED
    }

    /// Lets something work on an unpacked state. The line's lock must be held.
    pub(super) fn with_unpacked<R>(
        &self,
        seen: &Seen,
        work: impl FnOnce(&mut KeyState) -> R,
    ) -> Option<R> {
        self.unpacked.with(seen.word, work)
    }

    /// The state in a slot of a locked line.
    pub(super) fn get(&self, seen: &Seen) -> Option<KeyState> {
        match self.packing(seen.head) {
            Some(packing) => Some(packing.unpack(seen.word)),
            None => self.with_unpacked(seen, |state| state.clone()),
        }
    }

    /// From when on what is in a slot of a locked line equals a fresh state.
    pub(super) fn fresh_at(&self, seen: &Seen) -> Timestamp {
        match self.packing(seen.head) {
            Some(packing) => packing.fresh_at(seen.word),
            None => self
                .with_unpacked(seen, |state| state.fresh_at())
                .unwrap_or_default(),
        }
    }

    /// Puts the state of a key into a slot, whatever was there.
    pub(super) fn put(
        &self,
        locked: &Locked<'_>,
        (place, before): (Place, Option<Seen>),
        key: Fingerprint,
        state: KeyState,
        limits: &Limits,
    ) {
        let (head, word) = self.pack(key, before.as_ref(), state, limits);
        locked.put(place, head, word);
        if let Some(before) = before.filter(Self::is_unpacked) {
            self.unpacked.remove(before.word);
        }
    }

    fn pack(
        &self,
        key: Fingerprint,
        before: Option<&Seen>,
        state: KeyState,
        limits: &Limits,
    ) -> (Head, u64) {
        let tag = tag(key);
        let packed = |packing: &Packing| {
            let word = packing.pack(&state)?;
            let number = self.packings.number(packing)?;
            Some((Head::new(tag, number), word))
        };
        let wanted = Packing::of(state.algorithm(), limits, self.epoch);
        let packing = wanted.as_ref().and_then(packed);
        // A denial that changed nothing leaves a state that suits the limits of an earlier call.
        let packing = packing.or_else(|| packed(self.packing(before?.head)?));
        packing.unwrap_or_else(|| {
            let number = self.unpacked.insert(key.0, state);
            (Head::new(tag, UNPACKED), number)
        })
    }

    /// Empties a slot of a locked line.
    pub(super) fn clear(&self, locked: &Locked<'_>, place: Place, seen: &Seen) {
        locked.clear(place);
        self.gone(seen);
    }

    /// Empties a slot of a locked line.
    pub(super) fn clear_in(&self, line: &LockedLine<'_>, seen: &Seen) {
        line.clear(seen.slot);
        self.gone(seen);
    }

    fn gone(&self, seen: &Seen) {
        if Self::is_unpacked(seen) {
            self.unpacked.remove(seen.word);
        }
        self.count_one_less();
    }

    /// Remembers how far ahead states lie, in nanoseconds, by a clock that may step back.
    pub(super) fn saw(&self, now: Timestamp, fresh_after: u64) {
        // A state that lies ahead since the clock stepped back says nothing about what is usual.
        if now.as_nanos() >= self.newest.fetch_max(now.as_nanos(), Ordering::Relaxed) {
            self.longest.fetch_max(fresh_after, Ordering::Relaxed);
        }
    }

    /// When the clock stepped back by more than any key was ever to be kept, no key is kept longer
    /// than that from now on; else all of them would be in the way until the clock is where it was.
    /// Whether that was so.
    pub(super) fn follow_back(&self, now: Timestamp) -> bool {
        let newest = Timestamp::from_nanos(self.newest.load(Ordering::Relaxed));
        let longest = core::time::Duration::from_nanos(self.longest.load(Ordering::Relaxed));
        if newest.since(now) <= longest {
            return false;
        }
        self.newest.store(now.as_nanos(), Ordering::Relaxed);
        let latest = now.plus(longest);
        for number in 0..self.table.lines() {
            let Some(line) = self.table.lock_line(number) else {
                break;
            };
            for seen in line.iter().filter(|seen| self.fresh_at(seen) > latest) {
                match self.packing(seen.head) {
                    Some(packing) => {
                        let mut state = packing.unpack(seen.word);
                        state.follow_back(now, latest);
                        // Before the epoch nothing can be packed: such a state goes unpacked.
                        let (head, word) = match packing.pack(&state) {
                            Some(word) => (seen.head, word),
                            None => {
                                let number = self.unpacked.insert(seen.head.tag(), state);
                                (Head::new(seen.head.tag(), UNPACKED), number)
                            }
                        };
                        line.put(seen.slot, head, word);
                    }
                    None => {
                        self.with_unpacked(&seen, |state| state.follow_back(now, latest));
                    }
                }
            }
        }
        true
    }

    /// How many states are kept unpacked.
    #[cfg(all(test, not(loom)))]
    pub(super) fn unpacked(&self) -> usize {
        self.unpacked.len()
    }
}
