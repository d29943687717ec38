//! The engine: finds a key's state, lets the arithmetic work on it, and keeps it or not.
//!
//! The clock is read when the locks are held, and again for the overflow, so that it is never
//! earlier than the newest instant of the state, unless the clock itself stepped back. Nothing is
//! logged while a lock is held: what writes the log may be limited itself.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ratelimit_core::{
    Adjust, Algorithm, Answers, Check, Clock, Decision, Error, ErrorKind, Incapable, KeyState,
    Outcome, Policy, Sweep, Swept, Timestamp,
};

use super::fingerprint::{Fingerprint, Seeds};
use super::kept::Kept;
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
    closed: AtomicBool,
}

/// Where the state of a key is.
enum Place {
    Shard,
    Overflow,
}

/// The overflow as one question sees it: locked when it is first needed, and until the question is
/// answered, so that what a batch did to it can be undone. It is to be dropped after the shards'
/// locks, and says then in the log what there is to say.
struct Locked<'e, 'c> {
    engine: &'e Engine,
    overflow: Option<(MutexGuard<'e, Overflow>, Timestamp)>,
    /// The policies whose new keys share a bucket.
    sharing: Vec<&'c Policy>,
}

impl<'e> Locked<'e, '_> {
    fn new(engine: &'e Engine) -> Self {
        Self {
            engine,
            overflow: None,
            sharing: Vec::new(),
        }
    }

    /// The overflow, and the time since it is locked.
    fn overflow(&mut self) -> (&mut Overflow, Timestamp) {
        let engine = self.engine;
        let (overflow, now) = self.overflow.get_or_insert_with(|| {
            let overflow = lock(&engine.overflow);
            // Another shard's caller may have been here since this one's time was read.
            let now = engine.clock.now();
            (overflow, now)
        });
        (overflow, *now)
    }

    /// The time: that of the overflow, which is later, once it is locked.
    fn now(&self, now: Timestamp) -> Timestamp {
        self.overflow.as_ref().map_or(now, |(_, now)| *now)
    }
}

impl Drop for Locked<'_, '_> {
    fn drop(&mut self) {
        self.overflow = None;
        for policy in &self.sharing {
            tracing::warn!(
                policy = policy.name(),
                max_keys = self.engine.max_keys,
                "the memory backend is full of live keys: new keys of this policy share one bucket"
            );
        }
    }
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
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Which shard a check's key lives in.
    #[cfg(test)]
    pub(super) fn shard_of(&self, check: &Check<'_>) -> usize {
        self.key(check).shard(self.shards.len())
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

    /// How many policies have an overflow bucket.
    #[cfg(test)]
    pub(super) fn overflowing(&self) -> usize {
        lock(&self.overflow).len()
    }

    pub(super) fn decide(&self, check: &Check<'_>) -> Result<Decision, Error> {
        self.accepts(check)?;
        let mut locked = Locked::new(self);
        let (key, mut shard) = self.lock(check);
        let now = self.clock.now();
        self.decide_in(&mut shard, key, check, now, &mut locked)
            .map(|(decision, _)| decision)
    }

    pub(super) fn peek(&self, check: &Check<'_>) -> Result<Decision, Error> {
        self.accepts(check)?;
        let mut locked = Locked::new(self);
        let (key, mut shard) = self.lock(check);
        let now = self.clock.now();
        Ok(self.peek_in(&mut shard, key, check, now, &mut locked))
    }

    pub(super) fn adjust(&self, adjust: &Adjust<'_>) -> Result<Decision, Error> {
        self.is_open()?;
        let check = &adjust.check;
        let mut locked = Locked::new(self);
        let (key, mut shard) = self.lock(check);
        let now = self.clock.now();
        if let Some(decision) =
            shard.adjust(key, check.limits, now, |state| state.adjust(adjust, now))
        {
            return Ok(decision);
        }
        // The charge may be in the overflow bucket.
        if self.shared_bucket(&mut shard, check, &mut locked).is_none() {
            let mut state = KeyState::fresh(check.policy.algorithm());
            let decision = state.adjust(adjust, now);
            let kept = Kept::new(state, check.limits);
            if kept.fresh_at <= now {
                return Ok(decision);
            }
            if shard.make_room(now) {
                shard.insert(key, kept, now);
                return Ok(decision);
            }
        }
        self.share(&mut shard, check, &mut locked, |overflow, policy, now| {
            overflow.adjust(policy, check, now, |state| state.adjust(adjust, now))
        })
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
        let mut locked = Locked::new(self);
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
                let bucket = if kept.is_none() && shard.is_full() {
                    let policy = self.seeds.policy(check.policy);
                    locked.overflow().0.get(policy).cloned()
                } else {
                    None
                };
                match self.decide_in(shard, *key, check, now, &mut locked) {
                    Ok((decision, place)) => {
                        undo.push((place, kept, bucket));
                        if !decision.is_allowed() {
                            denied = Some((answers.len(), Ok(decision)));
                            break;
                        }
                        answers.push(Ok(decision));
                    }
                    Err(error) => {
                        denied = Some((answers.len(), Err(error)));
                        break;
                    }
                }
            }
            if denied.is_none() {
                return answers;
            }
        }

        for ((check, key), (place, kept, bucket)) in checks.iter().zip(&keys).zip(undo).rev() {
            match place {
                Place::Shard => shards[position(key)].restore(*key, kept),
                Place::Overflow => {
                    let policy = self.seeds.policy(check.policy);
                    locked.overflow().0.restore(policy, bucket, check);
                }
            }
        }
        let mut answers: Answers = checks
            .iter()
            .zip(&keys)
            .zip(refused)
            .map(|((check, key), refused)| {
                let shard = &mut shards[position(key)];
                let decision = self.peek_in(shard, *key, check, now, &mut locked);
                refused.map_or(Ok(decision.with_outcome(Outcome::Denied)), Err)
            })
            .collect();
        if let Some((index, answer)) = denied {
            // It may only have been denied because of the checks of the same key before it.
            answers[index] = answer;
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

    fn decide_in<'c>(
        &self,
        shard: &mut Shard,
        key: Fingerprint,
        check: &Check<'c>,
        now: Timestamp,
        locked: &mut Locked<'_, 'c>,
    ) -> Result<(Decision, Place), Error> {
        let now = locked.now(now);
        if let Some(decision) =
            shard.decide(key, check.limits, now, |state| state.decide(check, now))
        {
            return Ok((decision, Place::Shard));
        }
        if shard.make_room(now) {
            let mut kept = self.new_key(shard, check, locked);
            let now = locked.now(now);
            let decision = kept.decide(check.limits, |state| state.decide(check, now));
            if decision.charge().cost() > 0 {
                shard.insert(key, kept, now);
            }
            return Ok((decision, Place::Shard));
        }
        self.share(shard, check, locked, |overflow, policy, now| {
            overflow.decide(policy, check, now, |state| state.decide(check, now))
        })
        .map(|decision| (decision, Place::Overflow))
    }

    /// Lets something work on the policy's overflow bucket.
    fn share<'c>(
        &self,
        shard: &mut Shard,
        check: &Check<'c>,
        locked: &mut Locked<'_, 'c>,
        work: impl FnOnce(&mut Overflow, Fingerprint, Timestamp) -> Result<(Decision, bool), Error>,
    ) -> Result<Decision, Error> {
        let policy = self.seeds.policy(check.policy);
        let (overflow, now) = locked.overflow();
        shard.overflowed = true;
        let (decision, say) = work(overflow, policy, now)?;
        if say {
            locked.sharing.push(check.policy);
        }
        Ok(decision)
    }

    fn peek_in(
        &self,
        shard: &mut Shard,
        key: Fingerprint,
        check: &Check<'_>,
        now: Timestamp,
        locked: &mut Locked<'_, '_>,
    ) -> Decision {
        match shard.get(key) {
            Some(kept) => kept.state.peek(check, locked.now(now)),
            None => {
                let kept = self.new_key(shard, check, locked);
                kept.state.peek(check, locked.now(now))
            }
        }
    }

    /// The state with which a new key starts: that of the overflow bucket while it is in use, as
    /// the key may have been admitted through it.
    fn new_key(&self, shard: &mut Shard, check: &Check<'_>, locked: &mut Locked<'_, '_>) -> Kept {
        let fresh = || Kept::new(KeyState::fresh(check.policy.algorithm()), check.limits);
        self.shared_bucket(shard, check, locked)
            .cloned()
            .unwrap_or_else(fresh)
    }

    /// The policy's overflow bucket, if it is in use by keys of this shard.
    fn shared_bucket<'l>(
        &self,
        shard: &mut Shard,
        check: &Check<'_>,
        locked: &'l mut Locked<'_, '_>,
    ) -> Option<&'l Kept> {
        if !shard.overflowed {
            return None;
        }
        let (overflow, now) = locked.overflow();
        if overflow.is_over(now) {
            shard.overflowed = false;
            return None;
        }
        overflow.live(self.seeds.policy(check.policy), now)
    }
}

/// Nothing panics while it holds one of these locks but a user's clock, and that only before a
/// state is changed or after.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
