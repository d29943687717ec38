//! One question to the engine: the lines of its keys locked, the time read, and what becomes of the
//! keys that are not kept yet.
//!
//! The clock is read when the locks are held, and again for the overflow, so that it is never
//! earlier than the newest instant of a state, unless the clock itself stepped back. Nothing is
//! logged while a lock is held: what writes the log may be limited itself.

use std::sync::{MutexGuard, PoisonError};

use ratelimit_core::{Check, Error, KeyState, Policy, Timestamp};

use super::engine::Engine;
use super::line::Seen;
use super::locked::{Locked, Place};
use super::overflow::Overflow;
use super::reclaim::idle_since;
use super::states::States;
use crate::hash::Fingerprint;

/// Where the state of a key is, or will be.
#[derive(Debug)]
pub(super) enum Spot {
    /// It is kept.
    Kept(Place, Seen),
    /// It is not, and there is a slot for it: an empty one, for which a key more was counted, or
    /// that of a key that can be forgotten.
    Free(Place, Option<Seen>),
    /// There is no room: its policy's overflow bucket stands for it.
    Shared,
}

impl From<(Place, Seen)> for Spot {
    fn from((place, seen): (Place, Seen)) -> Self {
        Self::Kept(place, seen)
    }
}

/// Why there is no slot for a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Its two lines are full, although there are fewer keys than there may be; and the depth of its
    /// segment.
    Crowded(Fingerprint, u32),
    /// There are as many keys as there may be.
    Full,
}

/// The lines of some keys, locked. It says in the log what there is to say when it is dropped, after
/// the locks.
pub(super) struct Session<'e, 'c> {
    engine: &'e Engine,
    locked: Option<Locked<'e>>,
    overflow: Option<MutexGuard<'e, Overflow>>,
    now: Timestamp,
    /// The policies whose new keys share a bucket.
    sharing: Vec<&'c Policy>,
}

impl<'e, 'c> Session<'e, 'c> {
    pub(super) fn open(engine: &'e Engine, keys: &[Fingerprint]) -> Self {
        let locked = engine.states.table.lock(keys);
        let now = engine.time.now();
        Self {
            engine,
            locked: Some(locked),
            overflow: None,
            now,
            sharing: Vec::new(),
        }
    }

    fn states(&self) -> &'e States {
        &self.engine.states
    }

    fn locked(&self) -> &Locked<'e> {
        // It is there until the session is dropped.
        self.locked.as_ref().expect("the lines are locked")
    }

    /// The time. It is not earlier than what a state has seen, where the clock never steps back:
    /// another processor may have read it a moment before.
    pub(super) fn now(&mut self, state: &KeyState) -> Timestamp {
        self.now = self.engine.not_before(self.now, state.newest());
        self.now
    }

    /// Where the key is, or will be. The slots of keys that can be forgotten are free, but for those
    /// that are needed.
    pub(super) fn spot(
        &self,
        key: Fingerprint,
        needed: impl Fn(Place) -> bool,
    ) -> Result<Spot, Obstacle> {
        if let Some((place, seen)) = self.locked().find(key) {
            return Ok(Spot::Kept(place, seen));
        }
        let empty = self.locked().empty(key);
        if let Some(place) = empty
            && self.states().count_one()
        {
            return Ok(Spot::Free(place, None));
        }
        let full = self.states().kept() >= self.states().max_keys();
        let since = if full { self.now } else { idle_since(self.now) };
        let forgotten = self
            .locked()
            .beside(key)
            .find(|(place, seen)| self.states().fresh_at(seen) <= since && !needed(*place));
        match forgotten {
            Some((place, seen)) => Ok(Spot::Free(place, Some(seen))),
            None if full || empty.is_some() => Err(Obstacle::Full),
            None => Err(Obstacle::Crowded(key, self.locked().depth(key))),
        }
    }

    /// Where the key is, if it is kept.
    pub(super) fn find(&self, key: Fingerprint) -> Option<(Place, Seen)> {
        self.locked().find(key)
    }

    /// Gives back a spot that was not needed.
    pub(super) fn leave(&self, spot: &Spot) {
        if let Spot::Free(_, None) = spot {
            self.states().count_one_less();
        }
    }

    /// Keeps the state of a key in its spot.
    pub(super) fn keep(&self, spot: &Spot, key: Fingerprint, state: KeyState, check: &Check<'_>) {
        let (place, before) = match spot {
            Spot::Kept(place, seen) => (*place, Some(*seen)),
            Spot::Free(place, before) => (*place, *before),
            Spot::Shared => return,
        };
        let fresh_at = state.fresh_at();
        self.engine.saw(self.now, ahead(fresh_at, self.now));
        let sooner = match spot {
            Spot::Kept(_, seen) => fresh_at < self.states().fresh_at(seen),
            _ => true,
        };
        if sooner {
            self.engine.reclaim.expect(fresh_at);
        }
        let place = (place, before);
        self.states()
            .put(self.locked(), place, key, state, check.limits);
    }

    /// Lets something work on the state of a kept key where it stands.
    pub(super) fn change<R>(
        &mut self,
        (place, seen): (Place, Seen),
        key: Fingerprint,
        check: &Check<'_>,
        work: impl FnOnce(&mut KeyState, Timestamp) -> R,
    ) -> Option<R> {
        let (engine, now) = (self.engine, self.now);
        if States::is_unpacked(&seen) {
            // Not copied: a log can be long.
            return self.states().with_unpacked(&seen, |state| {
                let now = engine.not_before(now, state.newest());
                let before = state.fresh_at();
                let answer = work(state, now);
                let fresh_at = state.fresh_at();
                engine.saw(now, ahead(fresh_at, now));
                if fresh_at < before {
                    engine.reclaim.expect(fresh_at);
                }
                answer
            });
        }
        let before = self.states().get(&seen)?;
        let now = self.now(&before);
        let mut state = before.clone();
        let answer = work(&mut state, now);
        if state != before {
            self.keep(&Spot::Kept(place, seen), key, state, check);
        }
        Some(answer)
    }

    /// Makes a kept key fresh.
    pub(super) fn forget(&self, key: Fingerprint) {
        if let Some((place, seen)) = self.locked().find(key) {
            self.states().clear(self.locked(), place, &seen);
        }
    }

    /// The overflow, locked from now on. The time is read again.
    pub(super) fn overflow(&mut self) -> (&mut Overflow, Timestamp) {
        let engine = self.engine;
        let overflow = self.overflow.get_or_insert_with(|| {
            let overflow = engine
                .overflow
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // The caller of another key may have been here since this one's time was read.
            self.now = engine.time.now();
            overflow
        });
        (overflow, self.now)
    }

    /// The state with which a new key starts: that of the overflow bucket while it is in use, as
    /// the key may have been admitted through it.
    pub(super) fn start(&mut self, check: &Check<'_>) -> KeyState {
        let fresh = || KeyState::fresh(check.policy.algorithm());
        self.live_bucket(check).unwrap_or_else(fresh)
    }

    /// The overflow bucket of the check's policy, while it is in use.
    pub(super) fn live_bucket(&mut self, check: &Check<'_>) -> Option<KeyState> {
        if !self.engine.is_overflowed() {
            return None;
        }
        let (overflow, now) = self.overflow();
        if overflow.is_over(now) {
            self.engine.set_overflowed(false);
            return None;
        }
        let (overflow, now) = self.overflow();
        overflow.live(check.policy.identity(), now).cloned()
    }

    /// Lets something work on the policy's overflow bucket.
    pub(super) fn share<R>(
        &mut self,
        check: &Check<'c>,
        work: impl FnOnce(&mut KeyState, Timestamp) -> R,
    ) -> Result<R, Error> {
        let engine = self.engine;
        let (overflow, now) = self.overflow();
        engine.set_overflowed(true);
        let (answer, say) = overflow.with(check, now, |state| {
            let now = engine.not_before(now, state.newest());
            work(state, now)
        })?;
        if say {
            self.sharing.push(check.policy);
        }
        Ok(answer)
    }

    /// Keeps the state of the policy's overflow bucket, which was worked on aside.
    pub(super) fn keep_shared(&mut self, check: &Check<'_>, state: KeyState) {
        let engine = self.engine;
        let (overflow, now) = self.overflow();
        engine.set_overflowed(true);
        overflow.keep(check.policy.identity(), state, now);
    }
}

/// How many nanoseconds the one is after the other.
fn ahead(fresh_at: Timestamp, now: Timestamp) -> u64 {
    fresh_at.as_nanos().saturating_sub(now.as_nanos())
}

impl Drop for Session<'_, '_> {
    fn drop(&mut self) {
        self.overflow = None;
        self.locked = None;
        for policy in &self.sharing {
            tracing::warn!(
                policy = policy.name(),
                max_keys = self.engine.states.max_keys(),
                "the memory backend has no room beside its live keys: new keys of this policy share one bucket"
            );
        }
    }
}
