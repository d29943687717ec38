//! [`Epochs`]: what makes a denial void that was asked for before its key was made fresh.
//!
//! Whoever resets a key, or corrects a charge, starts a new epoch of it, before asking the store and
//! again when the store has answered. A denial is good in the epoch in which its question was sent,
//! and in no other: so one that was under way at that time is void whenever it arrives, and whatever
//! cost it was of. That takes no lock, and nothing has to be searched.
//!
//! Keys share epochs by their fingerprint: a few denials of other keys become void as well, and are
//! asked for again.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::hash::Fingerprint;

/// The most epochs that are counted: 128 KiB of them.
const MOST: usize = 1 << 14;
const FEWEST: usize = 1 << 6;

/// The epochs of all keys. How many there are is a power of two.
#[derive(Debug)]
pub(super) struct Epochs(Box<[AtomicU64]>);

impl Epochs {
    /// Epochs for about so many keys.
    pub(super) fn for_keys(keys: usize) -> Self {
        let count = keys.clamp(FEWEST, MOST).next_power_of_two();
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    fn of(&self, Fingerprint(bits): Fingerprint) -> Option<&AtomicU64> {
        // The lowest bits find the place in the cache, too; these are others.
        let [.., first, second, third] = bits.to_le_bytes();
        let place = u32::from_le_bytes([first, second, third, 0]) as usize;
        self.0.get(place & (self.0.len() - 1))
    }

    /// The epoch of a key.
    pub(super) fn now(&self, key: Fingerprint) -> u64 {
        self.of(key)
            .map_or(0, |epoch| epoch.load(Ordering::Acquire))
    }

    /// Starts a new epoch of a key.
    pub(super) fn next(&self, key: Fingerprint) {
        if let Some(epoch) = self.of(key) {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Starts a new epoch of every key.
    pub(super) fn next_of_all(&self) {
        for epoch in &self.0 {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
    }
}
