//! The states that do not fit a word: logs, several rates, and what else needs room.

use std::sync::{Mutex, PoisonError};

use ratelimit_core::KeyState;
use slab::Slab;

/// Slabs, so that growing one of them copies little.
const SLABS: usize = 512;

/// States by number. Who holds the lock of the line that has the number owns the state.
#[derive(Debug)]
pub(super) struct Unpacked {
    slabs: Box<[Mutex<Slab<KeyState>>]>,
}

impl Unpacked {
    pub(super) fn new() -> Self {
        Self {
            slabs: (0..SLABS).map(|_| Mutex::default()).collect(),
        }
    }

    fn split(number: u64) -> (usize, usize) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        (number % SLABS, number / SLABS)
    }

    /// Keeps a state; its number. The seed says which slab takes it.
    pub(super) fn insert(&self, seed: u64, state: KeyState) -> u64 {
        let slab = Self::split(seed).0;
        let mut states = lock(&self.slabs[slab]);
        (states.insert(state) * SLABS + slab) as u64
    }

    /// Lets something work on a state.
    pub(super) fn with<R>(&self, number: u64, work: impl FnOnce(&mut KeyState) -> R) -> Option<R> {
        let (slab, place) = Self::split(number);
        lock(&self.slabs[slab]).get_mut(place).map(work)
    }

    /// Takes a state out.
    pub(super) fn remove(&self, number: u64) -> Option<KeyState> {
        let (slab, place) = Self::split(number);
        let mut states = lock(&self.slabs[slab]);
        let state = states.try_remove(place);
        // After a flood the memory is given back.
        if states.is_empty() {
            states.shrink_to_fit();
        }
        state
    }

    /// How many states there are.
    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.slabs.iter().map(|slab| lock(slab).len()).sum()
    }
}

fn lock(slab: &Mutex<Slab<KeyState>>) -> std::sync::MutexGuard<'_, Slab<KeyState>> {
    slab.lock().unwrap_or_else(PoisonError::into_inner)
}
