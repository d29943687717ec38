//! A line: four slots that fill one cache line, and the lock that they share.
//!
//! Readers take no lock: a slot is read as its head, its word, and its head again. Writers hold the
//! line's lock, a bit of the first slot's head. They change a slot that goes on standing
//! for its key by one store of its word, and give a slot to another key by emptying its head before
//! its word is written, so that no reader takes the word of one key for that of another. (A slot
//! that changes hands and comes back to the same key between two loads of a reader would deceive
//! it: the reader's answer could then be a denial that nobody owes, never an admission, which takes
//! the lock and compares again.)

use core::fmt;

use super::sync::{AtomicU64, Ordering, pause};

/// Slots of a line.
pub(super) const SLOTS: usize = 4;

/// Below the tag, above the packing.
const LOCKED: u64 = 1 << 7;
const PACKING: u64 = LOCKED - 1;
/// The bits of a head, and of a key's fingerprint, that are its tag.
pub(super) const TAG: u64 = !(LOCKED | PACKING);

/// Whose state a slot holds, and how it is packed: never 0, which is an empty slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head(u64);

impl Head {
    /// Of a key's tag and the number of a packing.
    #[inline]
    pub(super) fn new(tag: u64, packing: u8) -> Self {
        Self(tag & TAG | u64::from(packing) & PACKING)
    }

    #[inline]
    pub(super) fn tag(self) -> u64 {
        self.0 & TAG
    }

    #[inline]
    pub(super) fn packing(self) -> u8 {
        // Seven bits.
        u8::try_from(self.0 & PACKING).unwrap_or(0)
    }

    #[inline]
    fn of(head: u64) -> Option<Self> {
        let head = head & !LOCKED;
        (head != 0).then_some(Self(head))
    }
}

/// Whether a head is that of a tag. No tag is 0, as an empty slot's is.
#[inline(always)]
fn is_of(head: u64, tag: u64) -> bool {
    head ^ tag <= !TAG
}

/// What a line is kept in: the head and the word of each slot in turn.
pub(super) type Words = [AtomicU64; 2 * SLOTS];

/// A line, wherever it is kept.
#[derive(Clone, Copy)]
pub(super) struct Line<'a>(&'a Words);

/// What a reader saw of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) slot: usize,
    pub(super) head: Head,
    pub(super) word: u64,
}

impl<'a> Line<'a> {
    /// What is kept in these words, which are all 0 in the beginning.
    #[inline(always)]
    pub(super) fn of(words: &'a Words) -> Self {
        Self(words)
    }

    #[inline(always)]
    fn head(self, slot: usize) -> &'a AtomicU64 {
        &self.0[2 * slot]
    }

    #[inline(always)]
    fn word(self, slot: usize) -> &'a AtomicU64 {
        &self.0[2 * slot + 1]
    }

    /// Has the processor fetch the line without waiting for it: compilers leave an atomic load
    /// where it is, even if nothing depends on it.
    #[inline(always)]
    pub(super) fn fetch(self) {
        let _ = self.head(0).load(Ordering::Relaxed);
    }

    /// The slot of a tag.
    #[inline(always)]
    pub(super) fn find(self, tag: u64) -> Option<Seen> {
        // Every slot is looked at: a branch for each would be mispredicted for half of all keys.
        let mut slot = SLOTS;
        for place in 0..SLOTS {
            if is_of(self.head(place).load(Ordering::Relaxed), tag) {
                slot = place;
            }
        }
        if slot == SLOTS {
            return None;
        }
        let head = self.head(slot).load(Ordering::Acquire);
        let word = self.word(slot).load(Ordering::Acquire);
        is_of(head, tag).then_some(Seen {
            slot,
            head: Head(head & !LOCKED),
            word,
        })
    }

    /// The slot of exactly this head, which is the tag and the packing.
    #[inline(always)]
    pub(super) fn find_head(self, head: Head) -> Option<Seen> {
        let mut slot = SLOTS;
        for place in 0..SLOTS {
            let there = self.head(place).load(Ordering::Acquire);
            if there & !lock_bit(place) == head.0 {
                slot = place;
            }
        }
        if slot == SLOTS {
            return None;
        }
        let word = self.word(slot).load(Ordering::Acquire);
        Some(Seen { slot, head, word })
    }

    /// Whether the slot still stands for the key that was seen, so that what was seen was its state
    /// at one instant.
    #[inline(always)]
    pub(super) fn holds(self, seen: &Seen) -> bool {
        let head = self.head(seen.slot).load(Ordering::Relaxed);
        head & !LOCKED == seen.head.0
    }

    /// Stores another word if the slot is just as it was seen.
    #[inline(always)]
    pub(super) fn replace(self, seen: &Seen, word: u64) -> bool {
        let lock = self.head(0);
        let unlocked = lock.load(Ordering::Relaxed) & !LOCKED;
        let taken = lock.compare_exchange(
            unlocked,
            unlocked | LOCKED,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if taken.is_err() {
            return false;
        }
        let slot = self.word(seen.slot);
        let same = self.holds(seen) && slot.load(Ordering::Relaxed) == seen.word;
        if same {
            slot.store(word, Ordering::Release);
        }
        lock.store(unlocked, Ordering::Release);
        same
    }

    /// Waits for the lock.
    pub(super) fn lock(self) -> LockedLine<'a> {
        let lock = self.head(0);
        let mut tries = 0;
        loop {
            let unlocked = lock.load(Ordering::Relaxed);
            if unlocked & LOCKED == 0
                && lock
                    .compare_exchange_weak(
                        unlocked,
                        unlocked | LOCKED,
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    )
                    .is_ok()
            {
                return LockedLine(self);
            }
            pause(&mut tries);
        }
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// A line whose lock is held, until this is dropped.
pub(super) struct LockedLine<'a>(Line<'a>);

impl LockedLine<'_> {
    /// What a slot holds.
    pub(super) fn get(&self, slot: usize) -> Option<Seen> {
        let head = Head::of(self.0.head(slot).load(Ordering::Relaxed))?;
        let word = self.0.word(slot).load(Ordering::Relaxed);
        Some(Seen { slot, head, word })
    }

    pub(super) fn find(&self, tag: u64) -> Option<Seen> {
        self.0.find(tag)
    }

    /// What the line holds.
    pub(super) fn iter(&self) -> impl Iterator<Item = Seen> + '_ {
        (0..SLOTS).filter_map(|slot| self.get(slot))
    }

    /// A slot that is empty.
    pub(super) fn empty(&self) -> Option<usize> {
        (0..SLOTS).find(|slot| self.get(*slot).is_none())
    }

    /// How many slots are in use.
    pub(super) fn used(&self) -> usize {
        self.iter().count()
    }

    /// Puts a state into a slot, whoever had it before.
    pub(super) fn put(&self, slot: usize, head: Head, word: u64) {
        let place = self.0.head(slot);
        // Nothing to empty where it goes on standing for its key.
        if place.load(Ordering::Relaxed) & !LOCKED != head.0 {
            self.clear(slot);
        }
        // Whoever sees this word sees that the slot was emptied before it.
        self.0.word(slot).store(word, Ordering::Release);
        place.store(head.0 | lock_bit(slot), Ordering::Release);
    }

    /// Empties a slot.
    pub(super) fn clear(&self, slot: usize) {
        self.0.head(slot).store(lock_bit(slot), Ordering::Relaxed);
    }
}

/// What a head keeps while its line is locked.
fn lock_bit(slot: usize) -> u64 {
    if slot == 0 { LOCKED } else { 0 }
}

impl Drop for LockedLine<'_> {
    fn drop(&mut self) {
        let lock = self.0.head(0);
        lock.store(lock.load(Ordering::Relaxed) & !LOCKED, Ordering::Release);
    }
}
