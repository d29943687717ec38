//! The engine: finds a key's state, lets the arithmetic work on it, and keeps it or not.
//!
//! Nearly every decision is made without waiting for anybody: the state is read, the arithmetic
//! says what becomes of it, and it is replaced if nobody else changed it meanwhile. A denial writes
//! nothing at all. What that way cannot do (a new key, a state that is not packed, limits that have
//! changed, a clock that stepped back) takes the locks of the key's two lines: a [`Session`].

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use ratelimit_core::algorithm::{WholeBucket, WholeStep, Write};
use ratelimit_core::{
    Adjust, Algorithm, Check, Clock, Decision, Error, ErrorKind, Incapable, KeyState, Sweep, Swept,
    SystemClock, Timestamp,
};
use smallvec::SmallVec;

use super::line::{SLOTS, Seen};
use super::overflow::Overflow;
use super::reclaim::{Reclaim, count_expired, drop_expired, idle_since};
use super::session::{Obstacle, Session, Spot};
use super::states::States;
use super::sync::pause;
use super::table::Found;
use super::time::{Counter, Time};
use crate::hash::{Fingerprint, Seeds};

/// How often a decision is tried without locks before it takes them.
const TRIES: u32 = 8;

/// So many moves that left a key without room say that no more of them will help: somebody else may
/// take the room once, but the keys of a batch can be in the way of each other.
const MOVES_OF_NO_USE: usize = 4;

/// The epoch of packed states lies so long before the engine, for clocks that step back a little.
const BEFORE: Duration = Duration::from_hours(24);

pub(super) struct Engine {
    pub(super) time: Time,
    pub(super) seeds: Seeds,
    pub(super) states: States,
    max_log: u32,
    pub(super) reclaim: Reclaim,
    /// Locked after lines, never before one.
    pub(super) overflow: Mutex<Overflow>,
    /// Whether keys may have been admitted through an overflow bucket that is in use.
    overflowed: AtomicBool,
    closed: AtomicBool,
}

impl Engine {
    pub(super) fn new(clock: Option<Arc<dyn Clock>>, max_keys: usize, max_log: u32) -> Self {
        let time = match clock {
            Some(clock) => Time::Injected(clock),
            None => Time::Process(Counter::new()),
        };
        let started = match &time {
            Time::Injected(clock) => clock.now(),
            Time::Process(_) => SystemClock.now(),
        };
        let before = u64::try_from(BEFORE.as_nanos()).unwrap_or(0);
        let epoch = Timestamp::from_nanos(started.as_nanos().saturating_sub(before));
        Self {
            time,
            seeds: Seeds::random(),
            states: States::new(max_keys, epoch),
            max_log,
            reclaim: Reclaim::default(),
            overflow: Mutex::default(),
            overflowed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// How many policies have an overflow bucket.
    #[cfg(all(test, not(loom)))]
    pub(super) fn overflowing(&self) -> usize {
        self.overflow.lock().unwrap().len()
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(closed());
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Acquire)
    }

    /// The overflow must be locked, so that nobody takes it for unused while it is charged.
    pub(super) fn set_overflowed(&self, overflowed: bool) {
        self.overflowed.store(overflowed, Ordering::Release);
    }

    /// The time, or a later one that was seen already, where the clock never steps back.
    pub(super) fn not_before(&self, now: Timestamp, seen: Timestamp) -> Timestamp {
        if self.time.is_injected() {
            now
        } else {
            now.max(seen)
        }
    }

    /// Remembers how far ahead a state lies that was charged now.
    #[inline]
    pub(super) fn saw(&self, now: Timestamp, fresh_after: u64) {
        if self.time.is_injected() {
            self.states.saw(now, fresh_after);
        }
    }

    #[inline(always)]
    pub(super) fn key(&self, check: &Check<'_>) -> Fingerprint {
        self.seeds.key(check.policy, check.key)
    }

    #[inline(always)]
    pub(super) fn decide(&self, check: &Check<'_>) -> Result<Decision, Error> {
        if self.is_closed() {
            return Err(closed());
        }
        let key = self.key(check);
        match self.decide_at_once(key, check) {
            Some(decision) => Ok(decision),
            None => self.decide_again(key, check),
        }
    }

    /// Decides on the state of a bucket if nobody else is about to change it: the shortest way.
    #[inline(always)]
    fn decide_at_once(&self, key: Fingerprint, check: &Check<'_>) -> Option<Decision> {
        let found = self.states.table.find(key)?;
        let packing = self.states.packing(found.seen.head)?;
        let bucket = packing.whole_bucket(check.limits)?;
        if !check.max_delay.is_zero() {
            return None;
        }
        let (step, now) = self.charge(found, &bucket, check.cost)?;
        Some(bucket.decision(&step, now, check.cost))
    }

    /// Charges a bucket if it has room and nobody else is about to change it.
    #[inline(always)]
    pub(super) fn charge(
        &self,
        found: Found<'_>,
        bucket: &WholeBucket,
        cost: u32,
    ) -> Option<(WholeStep, Timestamp)> {
        // After the state: a thread that is held up must not deny by a time that is over.
        let now = self.time.now_inlined()?;
        let step = bucket.step(found.seen.word, now, cost)?;
        let done = match step.replace() {
            None => found.holds(),
            Some(word) => found.replace(word),
        };
        done.then_some((step, now))
    }

    /// Decides on any packed state, some tries long; else with the locks held.
    #[inline(never)]
    fn decide_again(&self, key: Fingerprint, check: &Check<'_>) -> Result<Decision, Error> {
        let mut tries = 0;
        while tries < TRIES {
            match self.try_to_decide(key, check) {
                Tried::Done(decision) => return Ok(decision),
                // This counts the try.
                Tried::Changed => pause(&mut tries),
                Tried::Impossible => break,
            }
        }
        self.decide_locked(key, check)
    }

    fn try_to_decide(&self, key: Fingerprint, check: &Check<'_>) -> Tried {
        let Some(found) = self.states.table.find(key) else {
            return Tried::Impossible;
        };
        let packing = self.states.packing(found.seen.head);
        let Some(packing) = packing.filter(|packing| packing.suits(check.limits)) else {
            return Tried::Impossible;
        };
        let now = self.time.now();
        let Some(packed) = packing.step(found.seen.word, check, now) else {
            return Tried::Impossible;
        };
        let done = match packed.write {
            // What can never be admitted is an error.
            Write::Nothing if packed.is_unsatisfiable() => return Tried::Impossible,
            Write::Nothing => found.holds(),
            Write::Charge => found.replace(packed.word),
            // The clock stepped back, or was read before somebody else charged the key.
            Write::Repair => return Tried::Impossible,
        };
        if !done {
            return Tried::Changed;
        }
        self.saw(now, packed.reset_after());
        Tried::Done(packing.answer(&packed, check, now))
    }

    /// Decides with the locks held, and makes room for a new key.
    #[cold]
    fn decide_locked(&self, key: Fingerprint, check: &Check<'_>) -> Result<Decision, Error> {
        self.accepts(check)?;
        self.with_room(|may_share| {
            let mut session = Session::open(self, &[key]);
            if let Some(kept) = session.find(key) {
                let decided =
                    session.change(kept, key, check, |state, now| state.decide(check, now));
                return decided.map_or_else(|| Err(Stop::Failed(lost())), Ok);
            }
            let spot = match session.spot(key, |_| false) {
                Err(_) if may_share => Spot::Shared,
                spot => spot?,
            };
            if let Spot::Shared = spot {
                let shared = session.share(check, |state, now| state.decide(check, now));
                return shared.map_err(Stop::Failed);
            }
            let mut state = session.start(check);
            let now = session.now(&state);
            let decision = state.decide(check, now);
            if decision.charge().cost() > 0 {
                session.keep(&spot, key, state, check);
            } else {
                session.leave(&spot);
            }
            drop(session);
            self.reclaim.in_passing(&self.states, now);
            Ok(decision)
        })
    }

    /// Does something for which a new key may need room; without any, it shares.
    pub(super) fn with_room<R>(
        &self,
        mut work: impl FnMut(bool) -> Result<R, Stop>,
    ) -> Result<R, Error> {
        let mut may_share = false;
        let mut moved = Moved::new();
        loop {
            match work(may_share) {
                Ok(done) => return Ok(done),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Obstacle(obstacle)) => may_share = !self.make_room(obstacle, &mut moved),
            }
        }
    }

    /// Whether there may be room now.
    fn make_room(&self, obstacle: Obstacle, moved: &mut Moved) -> bool {
        let now = self.time.now();
        match obstacle {
            Obstacle::Full => {
                if self.states.follow_back(now) {
                    // What was found before says nothing about when keys can be forgotten now.
                    self.reclaim.expect(Timestamp::default());
                }
                self.reclaim.make_room(&self.states, now)
            }
            Obstacle::Crowded(key, depth) => {
                // Moving one key is cheapest. Forgetting an eighth is better than growing, and
                // growing better than forgetting what may be in use.
                let on_move = |seen: &Seen| self.reclaim.expect(self.states.fresh_at(seen));
                let helps = moved.iter().filter(|other| **other == key).count() < MOVES_OF_NO_USE;
                if helps && self.states.table.relocate(key, on_move) {
                    moved.push(key);
                    return true;
                }
                // What did not help may do so in another segment.
                moved.clear();
                let lines = self.states.table.lines_beside(key);
                let drop_all = |since| -> usize {
                    if !self.reclaim.is_due(since) {
                        return 0;
                    }
                    let lines = lines.clone();
                    lines
                        .map(|line| drop_expired(&self.states, line, since, SLOTS).0)
                        .sum()
                };
                let idle = drop_all(idle_since(now));
                idle > lines.len() * SLOTS / 8
                    || self.states.table.split(key, depth)
                    || idle + drop_all(now) > 0
            }
        }
    }

    pub(super) fn peek(&self, check: &Check<'_>) -> Result<Decision, Error> {
        self.accepts(check)?;
        let key = self.key(check);
        let mut session = Session::open(self, &[key]);
        Ok(self.peek_in(&mut session, key, check))
    }

    pub(super) fn peek_in(
        &self,
        session: &mut Session<'_, '_>,
        key: Fingerprint,
        check: &Check<'_>,
    ) -> Decision {
        let kept = session
            .find(key)
            .and_then(|(_, seen)| self.states.get(&seen));
        let state = kept.unwrap_or_else(|| session.start(check));
        let now = session.now(&state);
        state.peek(check, now)
    }

    pub(super) fn adjust(&self, adjust: &Adjust<'_>) -> Result<Decision, Error> {
        self.is_open()?;
        let check = &adjust.check;
        let key = self.key(check);
        self.with_room(|may_share| {
            let mut session = Session::open(self, &[key]);
            if let Some(kept) = session.find(key) {
                let decided =
                    session.change(kept, key, check, |state, now| state.adjust(adjust, now));
                return decided.map_or_else(|| Err(Stop::Failed(lost())), Ok);
            }
            // The charge may be in the overflow bucket.
            if session.live_bucket(check).is_none() {
                let mut state = KeyState::fresh(check.policy.algorithm());
                let now = session.now(&state);
                let decision = state.adjust(adjust, now);
                if state.fresh_at() <= now {
                    return Ok(decision);
                }
                match session.spot(key, |_| false) {
                    Err(_) if may_share => {}
                    spot => {
                        session.keep(&spot?, key, state, check);
                        return Ok(decision);
                    }
                }
            }
            session
                .share(check, |state, now| state.adjust(adjust, now))
                .map_err(Stop::Failed)
        })
    }

    pub(super) fn reset(&self, check: &Check<'_>) -> Result<(), Error> {
        self.is_open()?;
        let key = self.key(check);
        Session::open(self, &[key]).forget(key);
        Ok(())
    }

    /// Line by line: nobody waits for longer than one takes.
    pub(super) fn sweep(&self, sweep: Sweep) -> Result<Swept, Error> {
        self.is_open()?;
        let (mut removed, mut kept) = (0, 0);
        for line in 0..self.states.table.lines() {
            let now = self.time.now();
            if !sweep.dry_run {
                removed += self.drop_in_batches(line, now, sweep.batch);
            }
            let (expired, live) = count_expired(&self.states, line, now);
            removed += expired;
            kept += live;
        }
        Ok(Swept::new(removed as u64, kept as u64))
    }

    fn drop_in_batches(&self, line: u32, now: Timestamp, batch: usize) -> usize {
        let mut dropped = 0;
        loop {
            let (more, _) = drop_expired(&self.states, line, now, batch);
            dropped += more;
            if more < batch {
                return dropped;
            }
        }
    }

    /// Whether the check can be decided at all.
    #[inline]
    pub(super) fn accepts(&self, check: &Check<'_>) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(closed());
        }
        if check.policy.algorithm() == Algorithm::SlidingWindow {
            self.accepts_log(check)?;
        }
        let capacity = check.capacity();
        if check.cost > capacity {
            return Err(Error::unsatisfiable(check.cost, capacity));
        }
        Ok(())
    }

    fn accepts_log(&self, check: &Check<'_>) -> Result<(), Error> {
        let limits = check.limits.as_slice().iter();
        let largest = limits.map(|limit| limit.rate().limit()).max();
        match largest.filter(|limit| *limit > self.max_log) {
            Some(limit) => Err(Incapable::LogTooLong {
                limit,
                max_log: self.max_log,
            }
            .into()),
            None => Ok(()),
        }
    }
}

/// For which keys others were moved.
type Moved = SmallVec<[Fingerprint; MOVES_OF_NO_USE]>;

/// What came of deciding without locks.
enum Tried {
    Done(Decision),
    /// Somebody else was faster.
    Changed,
    /// It takes locks.
    Impossible,
}

/// Why an attempt did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is to be made again with more room, or without any.
    Obstacle(Obstacle),
    /// It cannot be made.
    Failed(Error),
}

impl From<Obstacle> for Stop {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the memory backend was closed")
}

/// Not reached: a slot that says where its state is kept is freed together with it.
#[cold]
pub(super) fn lost() -> Error {
    Error::new(ErrorKind::Other, "the memory backend lost a state")
}
