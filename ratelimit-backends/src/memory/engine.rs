//! The engine: finds a key's state, lets the arithmetic work on it, and keeps it or not.
//!
//! The clock is read when the locks are held, so that it is never earlier than the newest instant
//! of the state, unless the clock itself stepped back.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ratelimit_core::{
    Adjust, Algorithm, Answers, Check, Clock, Decision, Error, ErrorKind, Incapable, KeyState,
    Outcome, Sweep, Swept, Timestamp,
};

use super::fingerprint::{Fingerprint, Seeds};
use super::overflow::Overflow;
use super::shard::Shard;

const MOST_SHARDS: usize = 64;
const KEYS_PER_SHARD: usize = 4_096;

pub(super) struct Engine {
    clock: Arc<dyn Clock>,
    seeds: Seeds,
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    max_keys: usize,
    max_log: u32,
    /// Locked after a shard, never before one.
    overflow: Mutex<Overflow>,
    /// Whether any overflow bucket may be in use.
    overflowing: AtomicBool,
    closed: AtomicBool,
}

/// Where the state of a key is.
enum Place {
    Shard,
    Overflow,
}

impl Engine {
    pub(super) fn new(clock: Arc<dyn Clock>, max_keys: usize, max_log: u32) -> Self {
        let count = (max_keys / KEYS_PER_SHARD).clamp(1, MOST_SHARDS);
        // The next lower power of two.
        let count = 1 << count.ilog2();
        let shards = (0..count).map(|index| {
            // What does not divide goes to the first ones.
            let keys = max_keys / count + usize::from(index < max_keys % count);
            Mutex::new(Shard::new(keys))
        });
        Self {
            clock,
            seeds: Seeds::random(),
            shards: shards.collect(),
            max_keys,
            max_log,
            overflow: Mutex::default(),
            overflowing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// How many items the queues of expiring keys hold.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).queued()).sum()
    }

    pub(super) fn max_keys(&self) -> usize {
        self.max_keys
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Closed,
                "the memory backend was closed",
            ));
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn decide(&self, check: &Check<'_>) -> Result<Decision, Error> {
        self.accepts(check)?;
        let (key, mut shard) = self.lock(check);
        let now = self.clock.now();
        Ok(self.decide_in(&mut shard, key, check, now).0)
    }

    pub(super) fn peek(&self, check: &Check<'_>) -> Result<Decision, Error> {
        self.accepts(check)?;
        let (key, shard) = self.lock(check);
        let now = self.clock.now();
        Ok(self.peek_in(&shard, key, check, now))
    }

    pub(super) fn adjust(&self, adjust: &Adjust<'_>) -> Result<Decision, Error> {
        self.is_open()?;
        let check = &adjust.check;
        let (key, mut shard) = self.lock(check);
        let now = self.clock.now();
        if let Some(decision) = shard.adjust(key, check.limits, |state| state.adjust(adjust, now)) {
            return Ok(decision);
        }
        if let Some(policy) = self.shared_bucket(check, now) {
            // The charge may be in the overflow bucket.
            let change = |state: &mut KeyState| state.adjust(adjust, now);
            return Ok(lock(&self.overflow).update(policy, check, now, self.max_keys, change));
        }
        let mut state = KeyState::fresh(check.policy.algorithm());
        let decision = state.adjust(adjust, now);
        if state.fresh_at(check.limits) > now && shard.make_room(now) {
            shard.insert(key, state, check.limits);
        }
        Ok(decision)
    }

    pub(super) fn reset(&self, check: &Check<'_>) -> Result<(), Error> {
        self.is_open()?;
        let (key, mut shard) = self.lock(check);
        shard.remove(key);
        Ok(())
    }

    /// All or none. The locks of all shards that are touched are taken in order, so that two
    /// batches never wait for each other.
    pub(super) fn decide_all(&self, checks: &[Check<'_>]) -> Answers {
        let refused: Vec<_> = checks
            .iter()
            .map(|check| self.accepts(check).err())
            .collect();
        let keys: Vec<_> = checks.iter().map(|check| self.key(check)).collect();
        let mut touched: Vec<_> = keys
            .iter()
            .map(|key| key.shard(self.shards.len()))
            .collect();
        touched.sort_unstable();
        touched.dedup();
        let mut shards: Vec<_> = touched
            .iter()
            .map(|index| lock(&self.shards[*index]))
            .collect();
        let now = self.clock.now();
        let position = |key: &Fingerprint| {
            touched
                .binary_search(&key.shard(self.shards.len()))
                .unwrap_or_default()
        };

        let mut answers = Vec::with_capacity(checks.len());
        let mut undo = Vec::new();
        let mut denied = None;
        if refused.iter().all(Option::is_none) {
            for (check, key) in checks.iter().zip(&keys) {
                let shard = &mut shards[position(key)];
                let kept = shard.get(*key).cloned();
                let overflow = lock(&self.overflow)
                    .get(self.seeds.policy(check.policy))
                    .cloned();
                let (decision, place) = self.decide_in(shard, *key, check, now);
                undo.push((place, kept, overflow));
                if !decision.is_allowed() {
                    denied = Some((answers.len(), decision));
                    break;
                }
                answers.push(Ok(decision));
            }
            if denied.is_none() {
                return answers;
            }
        }

        for ((check, key), (place, kept, shared)) in checks.iter().zip(&keys).zip(undo).rev() {
            let shard = &mut shards[position(key)];
            match (place, kept) {
                (Place::Shard, Some(state)) => {
                    shard.adjust(*key, check.limits, |place| *place = state);
                }
                (Place::Shard, None) => shard.remove(*key),
                (Place::Overflow, _) => {
                    let policy = self.seeds.policy(check.policy);
                    lock(&self.overflow).restore(policy, shared, check);
                }
            }
        }
        let mut answers: Answers = checks
            .iter()
            .zip(&keys)
            .zip(refused)
            .map(|((check, key), refused)| {
                let decision = self.peek_in(&shards[position(key)], *key, check, now);
                refused.map_or(Ok(decision.with_outcome(Outcome::Denied)), Err)
            })
            .collect();
        if let Some((index, decision)) = denied {
            // It may only have been denied because of the checks of the same key before it.
            answers[index] = Ok(decision);
        }
        answers
    }

    pub(super) fn sweep(&self, sweep: Sweep) -> Result<Swept, Error> {
        self.is_open()?;
        let (mut removed, mut kept) = (0, 0);
        for shard in &self.shards {
            if sweep.dry_run {
                let shard = lock(shard);
                let expired = shard.count_expired(self.clock.now());
                removed += expired;
                kept += shard.len() - expired;
                continue;
            }
            loop {
                let mut shard = lock(shard);
                let dropped = shard.drop_expired(self.clock.now(), sweep.batch);
                removed += dropped;
                if dropped < sweep.batch {
                    kept += shard.len();
                    break;
                }
            }
        }
        Ok(Swept::new(removed as u64, kept as u64))
    }

    /// Whether the check can be decided at all.
    fn accepts(&self, check: &Check<'_>) -> Result<(), Error> {
        self.is_open()?;
        if check.policy.algorithm() == Algorithm::SlidingWindow {
            let largest = check
                .limits
                .as_slice()
                .iter()
                .map(|limit| limit.rate().limit())
                .max();
            if let Some(limit) = largest.filter(|limit| *limit > self.max_log) {
                return Err(Incapable::LogTooLong {
                    limit,
                    max_log: self.max_log,
                }
                .into());
            }
        }
        let capacity = check.capacity();
        if check.cost > capacity {
            return Err(Error::unsatisfiable(check.cost, capacity));
        }
        Ok(())
    }

    fn key(&self, check: &Check<'_>) -> Fingerprint {
        self.seeds.key(check.policy, check.key)
    }

    fn lock(&self, check: &Check<'_>) -> (Fingerprint, MutexGuard<'_, Shard>) {
        let key = self.key(check);
        (key, lock(&self.shards[key.shard(self.shards.len())]))
    }

    fn decide_in(
        &self,
        shard: &mut Shard,
        key: Fingerprint,
        check: &Check<'_>,
        now: Timestamp,
    ) -> (Decision, Place) {
        if let Some(decision) = shard.decide(key, check.limits, |state| state.decide(check, now)) {
            return (decision, Place::Shard);
        }
        if shard.make_room(now) {
            let mut state = self.new_key(check, now);
            let decision = state.decide(check, now);
            if decision.charge().cost() > 0 {
                shard.insert(key, state, check.limits);
            }
            return (decision, Place::Shard);
        }
        let policy = self.seeds.policy(check.policy);
        let decide = |state: &mut KeyState| state.decide(check, now);
        let mut overflow = lock(&self.overflow);
        // Under the lock, as is its clearing: it is never clear while a bucket is in use.
        self.overflowing.store(true, Ordering::Relaxed);
        let decision = overflow.update(policy, check, now, self.max_keys, decide);
        (decision, Place::Overflow)
    }

    fn peek_in(
        &self,
        shard: &Shard,
        key: Fingerprint,
        check: &Check<'_>,
        now: Timestamp,
    ) -> Decision {
        match shard.get(key) {
            Some(state) => state.peek(check, now),
            None => self.new_key(check, now).peek(check, now),
        }
    }

    /// The state with which a new key starts: that of the overflow bucket while it is in use, as
    /// the key may have been admitted through it.
    fn new_key(&self, check: &Check<'_>, now: Timestamp) -> KeyState {
        let fresh = || KeyState::fresh(check.policy.algorithm());
        let Some(policy) = self.shared_bucket(check, now) else {
            return fresh();
        };
        lock(&self.overflow)
            .live(policy, now)
            .cloned()
            .unwrap_or_else(fresh)
    }

    /// The policy's overflow bucket, if any is in use.
    fn shared_bucket(&self, check: &Check<'_>, now: Timestamp) -> Option<Fingerprint> {
        if !self.overflowing.load(Ordering::Relaxed) {
            return None;
        }
        let mut overflow = lock(&self.overflow);
        if overflow.is_over(now) {
            self.overflowing.store(false, Ordering::Relaxed);
            return None;
        }
        let policy = self.seeds.policy(check.policy);
        overflow.live(policy, now).is_some().then_some(policy)
    }
}

/// Nothing panics while it holds one of these locks but a user's clock, and that only before
/// anything was changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
