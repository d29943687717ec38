//! [`DenialStats`]: how much a cache of denials is worth.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::store::Store;
use crate::layers::answered::Answered;
use crate::layers::subject::Asked;

/// What a [`DenialCache`](super::DenialCache) has counted since it was made, around all backends that
/// it was put around together. Clones count, and show, the same.
///
/// The numbers are read one by one: what is counted meanwhile may be in one and not yet in another.
#[derive(Clone, Default)]
pub struct DenialStats(Arc<Counters>);

#[derive(Default)]
struct Counters {
    answered: Answered,
    remembered: AtomicU64,
    evicted: AtomicU64,
    stores: Mutex<Vec<Weak<Store>>>,
}

impl DenialStats {
    /// Checks that were answered from memory.
    pub fn hits(&self) -> u64 {
        self.0.answered.hits()
    }

    /// Checks that the inner backend was asked although a remembered denial could have answered them:
    /// those that take at least one unit, and are no part of a joined decision.
    pub fn misses(&self) -> u64 {
        self.0.answered.misses()
    }

    /// Denials that were put into memory, those included that replaced an older one.
    pub fn remembered(&self) -> u64 {
        self.0.remembered.load(Ordering::Relaxed)
    }

    /// Denials that were taken out of memory, be they over or not: because their key was reset,
    /// corrected, charged or asked for under other limits, for want of room, or at the close.
    pub fn evicted(&self) -> u64 {
        self.0.evicted.load(Ordering::Relaxed)
    }

    /// Denials that are in memory now; some may be over.
    pub fn entries(&self) -> u64 {
        let stores = self.0.stores.lock();
        let stores = stores.unwrap_or_else(PoisonError::into_inner);
        stores
            .iter()
            .filter_map(Weak::upgrade)
            .map(|store| store.len())
            .sum()
    }

    pub(super) fn add(&self, store: &Arc<Store>) {
        let stores = self.0.stores.lock();
        let mut stores = stores.unwrap_or_else(PoisonError::into_inner);
        stores.retain(|store| store.strong_count() > 0);
        stores.push(Arc::downgrade(store));
    }

    pub(super) fn hit(&self, asked: &Asked<'_>) {
        self.0.answered.hit(asked);
    }

    pub(super) fn missed(&self, asked: &Asked<'_>) {
        self.0.answered.missed(asked);
    }

    pub(super) fn remember(&self) {
        self.0.remembered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evict(&self, denials: u64) {
        if denials == 0 {
            return;
        }
        self.0.evicted.fetch_add(denials, Ordering::Relaxed);
    }
}

impl fmt::Debug for DenialStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenialStats")
            .field("hits", &self.hits())
            .field("misses", &self.misses())
            .field("remembered", &self.remembered())
            .field("evicted", &self.evicted())
            .field("entries", &self.entries())
            .finish()
    }
}
