//! [`LeaseStats`]: how much leases are worth.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::shared::Shared;
use crate::layers::answered::Answered;
use crate::layers::subject::Asked;

/// What a [`Lease`](super::Lease) has counted since it was made, around all backends that it was put
/// around together. Clones count, and show, the same.
///
/// The numbers are read one by one: what is counted meanwhile may be in one and not yet in another.
#[derive(Clone, Default)]
pub struct LeaseStats(Arc<Counters>);

#[derive(Default)]
struct Counters {
    answered: Answered,
    trips: AtomicU64,
    taken: AtomicU64,
    returned: AtomicU64,
    lost: AtomicU64,
    all: Mutex<Vec<Weak<Shared>>>,
}

impl LeaseStats {
    /// Checks that were answered from a slice that this process held already.
    pub fn hits(&self) -> u64 {
        self.0.answered.hits()
    }

    /// Checks for which the inner backend was asked, alone or together with others: those that take at
    /// least one unit, and are no part of a joined decision.
    pub fn misses(&self) -> u64 {
        self.0.answered.misses()
    }

    /// How often the inner backend was asked for units for several calls, or ahead of need.
    pub fn trips(&self) -> u64 {
        self.0.trips.load(Ordering::Relaxed)
    }

    /// Units that were taken in those trips.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Units that were not spent, and given back.
    pub fn returned(&self) -> u64 {
        self.0.returned.load(Ordering::Relaxed)
    }

    /// Units that were not spent, nor given back: because their window was over, their key was reset,
    /// or the store did not take them.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Keys of which the demand is known now, be something held of them or not.
    pub fn keys(&self) -> u64 {
        let all = self.0.all.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let all = all.iter().filter_map(Weak::upgrade);
        all.map(|shared| shared.accounts.len()).sum()
    }

    pub(super) fn add(&self, shared: &Arc<Shared>) {
        let all = self.0.all.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        all.retain(|shared| shared.strong_count() > 0);
        all.push(Arc::downgrade(shared));
    }

    pub(super) fn hit(&self, asked: &Asked<'_>) {
        self.0.answered.hit(asked);
    }

    pub(super) fn missed(&self, asked: &Asked<'_>) {
        self.0.answered.missed(asked);
    }

    pub(super) fn start_trip(&self) {
        self.0.trips.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn took(&self, units: u32) {
        self.0.taken.fetch_add(units.into(), Ordering::Relaxed);
    }

    pub(super) fn gave_back(&self, units: u64) {
        self.0.returned.fetch_add(units, Ordering::Relaxed);
    }

    pub(super) fn lose(&self, units: u64) {
        self.0.lost.fetch_add(units, Ordering::Relaxed);
    }
}

impl fmt::Debug for LeaseStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseStats")
            .field("hits", &self.hits())
            .field("misses", &self.misses())
            .field("trips", &self.trips())
            .field("taken", &self.taken())
            .field("returned", &self.returned())
            .field("lost", &self.lost())
            .field("keys", &self.keys())
            .finish()
    }
}
