//! How keys are forgotten that equal fresh ones: in passing, a few lines at a time.
//!
//! One hand goes over all lines from the first to the last, again and again. Each new key moves it
//! on by some lines; a new key for which there is no room moves it until there is, by a thousand
//! lines at most, but not before the earliest instant at which it has found that any key can be
//! forgotten.
//!
//! While there is room, a key is only forgotten when it has been as good as fresh for a while: a
//! bucket that is refilled within microseconds is fresh nearly always, and in use all the same.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use ratelimit_core::Timestamp;

use super::line::SLOTS;
use super::states::States;

/// Lines that are looked at for each new key while there is room.
const IN_PASSING: u32 = 2;

/// How long a key must have been fresh to be forgotten while there is room.
const IDLE: Duration = Duration::from_secs(1);

/// Lines that are looked at for a new key for which there is no room: some microseconds' work.
const AT_MOST: u32 = 1_024;

#[derive(Debug, Default)]
struct Hand {
    next: u32,
    /// The earliest instant at which any key of the lines before that one can be forgotten.
    earliest: u64,
}

/// Where the hand is, and whether it pays to move it.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    hand: Mutex<Hand>,
    /// Before this instant no key can be forgotten, as far as is known.
    not_before: AtomicU64,
    /// The earliest instant at which a key can be forgotten that came, or was moved, since the hand
    /// was last everywhere.
    expected: AtomicU64,
}

impl Reclaim {
    /// Looks at some lines, unless somebody else does so.
    pub(super) fn in_passing(&self, states: &States, now: Timestamp) {
        match self.hand.try_lock() {
            Ok(hand) => self.turn(hand, states, idle_since(now), IN_PASSING, usize::MAX),
            Err(TryLockError::Poisoned(hand)) => {
                let hand = hand.into_inner();
                self.turn(hand, states, idle_since(now), IN_PASSING, usize::MAX)
            }
            Err(TryLockError::WouldBlock) => 0,
        };
    }

    /// Looks for a key that can be forgotten; whether there was one.
    pub(super) fn make_room(&self, states: &States, now: Timestamp) -> bool {
        if !self.is_due(now) {
            return false;
        }
        let hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        self.turn(hand, states, now, AT_MOST, 1) > 0
    }

    /// Whether anything may be there to be forgotten.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.as_nanos() >= self.not_before.load(Ordering::Relaxed)
    }

    fn turn(
        &self,
        mut hand: MutexGuard<'_, Hand>,
        states: &States,
        now: Timestamp,
        lines: u32,
        enough: usize,
    ) -> usize {
        let mut dropped = 0;
        for _ in 0..lines.min(states.table.lines()) {
            if hand.next == 0 {
                hand.earliest = u64::MAX;
            }
            let (found, earliest) = drop_expired(states, hand.next, now, SLOTS);
            dropped += found;
            hand.earliest = hand.earliest.min(earliest.as_nanos());
            hand.next += 1;
            // Counted again: what a split has moved since is in lines that were added at the end.
            if hand.next >= states.table.lines() {
                hand.next = 0;
                // In this order, and the other one in `expect`: what is expected meanwhile is in one
                // of the two at last.
                self.not_before.store(hand.earliest, Ordering::Relaxed);
                let expected = self.expected.swap(u64::MAX, Ordering::AcqRel);
                self.not_before.fetch_min(expected, Ordering::Relaxed);
            }
            if dropped >= enough {
                break;
            }
        }
        dropped
    }

    /// A key can be forgotten from that instant on.
    pub(super) fn expect(&self, fresh_at: Timestamp) {
        for earliest in [&self.expected, &self.not_before] {
            if fresh_at.as_nanos() < earliest.load(Ordering::Acquire) {
                earliest.fetch_min(fresh_at.as_nanos(), Ordering::AcqRel);
            }
        }
    }
}

/// What has been fresh since then is not in use any more.
pub(super) fn idle_since(now: Timestamp) -> Timestamp {
    let idle = u64::try_from(IDLE.as_nanos()).unwrap_or(0);
    Timestamp::from_nanos(now.as_nanos().saturating_sub(idle))
}

/// Drops what can be forgotten of a line, at most so many keys: how many, and from when on others
/// can be.
pub(super) fn drop_expired(
    states: &States,
    number: u32,
    now: Timestamp,
    most: usize,
) -> (usize, Timestamp) {
    let (mut dropped, mut earliest) = (0, Timestamp::MAX);
    if let Some(line) = states.table.lock_line(number) {
        for seen in line.iter() {
            let fresh_at = states.fresh_at(&seen);
            if fresh_at <= now && dropped < most {
                states.clear_in(&line, &seen);
                dropped += 1;
            } else {
                earliest = earliest.min(fresh_at);
            }
        }
    }
    (dropped, earliest)
}

/// How many keys of a line could be forgotten, and how many could not.
pub(super) fn count_expired(states: &States, number: u32, now: Timestamp) -> (usize, usize) {
    let Some(line) = states.table.lock_line(number) else {
        return (0, 0);
    };
    let expired = line.iter().filter(|seen| states.fresh_at(seen) <= now);
    let expired = expired.count();
    (expired, line.used() - expired)
}
