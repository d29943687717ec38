//! A line: four slots that fill one cache line, and the lock that they share.
//!
//! Readers take no lock: a slot is read as its head, its word, and its head again. Writers hold the
//! line's lock, the highest bit of the first slot's head. They change a slot that goes on standing
//! for its key by one store of its word, and give a slot to another key by emptying its head before
//! its word is written, so that no reader takes the word of one key for that of another. (A slot
//! that changes hands and comes back to the same key between two loads of a reader would deceive
//! it: the reader's answer could then be a denial that nobody owes, never an admission, which takes
//! the lock and compares again.)

use core::fmt;

use super::sync::{AtomicU64, Ordering, pause};

/// Slots of a line.
pub(super) const SLOTS: usize = 4;

const LOCKED: u64 = 1 << 63;
/// Above the packing, below the lock.
const TAG_BITS: u32 = 56;
const TAG: u64 = (1 << TAG_BITS) - 1;

/// Whose state a slot holds, and how it is packed: never 0, which is an empty slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head(u64);

impl Head {
    /// Of a key's tag and the number of a packing.
    #[inline]
    pub(super) fn new(tag: u64, packing: u8) -> Self {
        Self(tag & TAG | u64::from(packing & 0x7f) << TAG_BITS)
    }

    #[inline]
    pub(super) fn tag(self) -> u64 {
        self.0 & TAG
    }

    #[inline]
    pub(super) fn packing(self) -> u8 {
        // Seven bits.
        u8::try_from(self.0 >> TAG_BITS).unwrap_or(0)
    }

    #[inline]
    fn of(head: u64) -> Option<Self> {
        let head = head & !LOCKED;
        (head != 0).then_some(Self(head))
    }
}

/// The state of one key.
struct Slot {
    head: AtomicU64,
    word: AtomicU64,
}

#[cfg_attr(not(loom), repr(align(64)))]
pub(super) struct Line([Slot; SLOTS]);

/// What a reader saw of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) slot: usize,
    pub(super) head: Head,
    pub(super) word: u64,
}

impl Line {
    pub(super) fn new() -> Self {
        Self(core::array::from_fn(|_| Slot {
            head: AtomicU64::new(0),
            word: AtomicU64::new(0),
        }))
    }

    /// The slot of a tag.
    #[inline(always)]
    pub(super) fn find(&self, tag: u64) -> Option<Seen> {
        // Every slot is looked at: a branch for each would be mispredicted for half of all keys.
        let heads: [u64; SLOTS] =
            core::array::from_fn(|slot| self.0[slot].head.load(Ordering::Acquire));
        let mut found = SLOTS;
        for (slot, head) in heads.iter().enumerate() {
            // No tag is 0, as an empty slot's is.
            if (head ^ tag) << (64 - TAG_BITS) == 0 {
                found = slot;
            }
        }
        let place = self.0.get(found)?;
        let head = Head(heads[found] & !LOCKED);
        let word = place.word.load(Ordering::Acquire);
        Some(Seen {
            slot: found,
            head,
            word,
        })
    }

    /// Whether the slot still stands for the key that was seen, so that what was seen was its state
    /// at one instant.
    #[inline(always)]
    pub(super) fn holds(&self, seen: &Seen) -> bool {
        let head = self.0[seen.slot].head.load(Ordering::Relaxed);
        head & !LOCKED == seen.head.0
    }

    /// Stores another word if the slot is just as it was seen.
    #[inline(always)]
    pub(super) fn replace(&self, seen: &Seen, word: u64) -> bool {
        let lock = &self.0[0].head;
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
        let slot = &self.0[seen.slot];
        let same = slot.head.load(Ordering::Relaxed) & !LOCKED == seen.head.0
            && slot.word.load(Ordering::Relaxed) == seen.word;
        if same {
            slot.word.store(word, Ordering::Release);
        }
        lock.store(unlocked, Ordering::Release);
        same
    }

    /// Waits for the lock.
    pub(super) fn lock(&self) -> LockedLine<'_> {
        let lock = &self.0[0].head;
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

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// A line whose lock is held, until this is dropped.
pub(super) struct LockedLine<'a>(&'a Line);

impl LockedLine<'_> {
    /// What a slot holds.
    pub(super) fn get(&self, slot: usize) -> Option<Seen> {
        let place = &self.0.0[slot];
        let head = Head::of(place.head.load(Ordering::Relaxed))?;
        let word = place.word.load(Ordering::Relaxed);
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
        let place = &self.0.0[slot];
        if place.head.load(Ordering::Relaxed) & !LOCKED != head.0 {
            self.clear(slot);
        }
        // Whoever sees this word sees that the slot was emptied before it.
        place.word.store(word, Ordering::Release);
        place.head.store(head.0 | lock_bit(slot), Ordering::Release);
    }

    /// Empties a slot.
    pub(super) fn clear(&self, slot: usize) {
        self.0.0[slot].head.store(lock_bit(slot), Ordering::Relaxed);
    }
}

/// What a head keeps while its line is locked.
fn lock_bit(slot: usize) -> u64 {
    if slot == 0 { LOCKED } else { 0 }
}

impl Drop for LockedLine<'_> {
    fn drop(&mut self) {
        let lock = &self.0.0[0].head;
        lock.store(lock.load(Ordering::Relaxed) & !LOCKED, Ordering::Release);
    }
}
