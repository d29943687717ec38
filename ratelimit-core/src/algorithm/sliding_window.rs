//! The sliding window: a log of admitted calls.
//!
//! An entry made at `t` counts during the half-open interval `[t, t + period)`, so that in every
//! half-open interval of one period the admitted cost never exceeds the limit.

use std::collections::VecDeque;

use super::{Terms, Verdict, Write};

/// One admitted call, or several of the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was admitted.
    pub at: u64,
    /// What it cost.
    pub cost: u32,
}

/// The admitted calls of one key, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    entries: VecDeque<Entry>,
    /// The sum of their costs.
    total: u64,
}

/// What a step would do to a [`Log`], which only [`Log::apply`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStep {
    /// Whether, and why, to apply it.
    pub write: Write,
    /// The answer.
    pub verdict: Verdict,
    /// How many of the oldest entries no longer count.
    expired: usize,
    charge: Entry,
}

impl Log {
    /// The log of these entries, oldest first.
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        let total = entries.iter().map(|entry| u64::from(entry.cost)).sum();
        let entries = entries.into();
        Self { entries, total }
    }

    /// The sum of the costs of all entries.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The entries, oldest first, those included that no longer count.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Entry> + ExactSizeIterator + '_ {
        self.entries.iter().copied()
    }

    /// How far the entries lie ahead: a clock that stepped back moves the whole log back, as if no
    /// time had passed.
    fn ahead(&self, now: u64) -> u64 {
        self.newest().saturating_sub(now)
    }

    /// When the latest call was admitted.
    pub(super) fn newest(&self) -> u64 {
        self.entries.back().map_or(0, |entry| entry.at)
    }

    /// Moves entries that lie ahead back. Those that would be older than the clock's epoch meet
    /// there, as one.
    pub(super) fn follow_back(&mut self, now: u64) {
        let ahead = self.ahead(now);
        if ahead == 0 {
            return;
        }
        for entry in &mut self.entries {
            entry.at = entry.at.saturating_sub(ahead);
        }
        let met = self.entries.partition_point(|entry| entry.at == 0);
        if met > 1 {
            let cost = self.entries.drain(..met).fold(0, |sum: u32, entry| {
                // More than any limit allows, and only where a store's bytes say so.
                sum.saturating_add(entry.cost)
            });
            self.entries.push_front(Entry { at: 0, cost });
            self.total = self.entries.iter().map(|entry| u64::from(entry.cost)).sum();
        }
    }

    /// How many of the oldest entries no longer count at `now`.
    fn expired(&self, period: u64, now: u64) -> usize {
        let ahead = self.ahead(now);
        self.entries
            .partition_point(|entry| entry.at.saturating_sub(ahead).saturating_add(period) <= now)
    }

    /// What counts at `now`.
    pub(super) fn used(&self, period: u64, now: u64) -> u64 {
        let live = self.entries.iter().skip(self.expired(period, now));
        live.map(|entry| u64::from(entry.cost)).sum()
    }

    /// The entries that count at `now`, for another period.
    pub(super) fn carried(&self, period: u64, now: u64) -> Self {
        let live = self.entries.iter().skip(self.expired(period, now));
        Self {
            entries: live.copied().collect(),
            total: self.used(period, now),
        }
    }

    /// Decides `cost` units at `now`. A cost of zero asks and charges nothing.
    pub fn step(&self, terms: &Terms, now: u64, cost: u32) -> LogStep {
        let ahead = self.ahead(now);
        let ends = |entry: &Entry| entry.at.saturating_sub(ahead).saturating_add(terms.period);
        let expired = self.expired(terms.period, now);
        let live = || self.entries.iter().skip(expired);
        let gone: u64 = self
            .entries
            .iter()
            .take(expired)
            .map(|entry| u64::from(entry.cost))
            .sum();
        let used = self.total.saturating_sub(gone);
        let room = u64::from(terms.limit).saturating_sub(used);
        let allowed = cost == 0 || u64::from(cost) <= room;
        let retry_after = if allowed {
            0
        } else if cost > terms.limit {
            u64::MAX
        } else {
            // The oldest entries have to leave until the cost fits.
            let mut missing = u64::from(cost) - room;
            if used > u64::from(terms.limit) {
                missing += used - u64::from(terms.limit);
            }
            let leaves = live().find(|entry| {
                missing = missing.saturating_sub(u64::from(entry.cost));
                missing == 0
            });
            leaves.map_or(0, |entry| ends(entry) - now)
        };
        let charged = allowed && cost > 0;
        let reset_after = if charged {
            terms.period
        } else {
            live().next_back().map_or(0, |entry| ends(entry) - now)
        };
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        LogStep {
            write: match (charged, ahead) {
                (true, _) => Write::Charge,
                (false, 0) => Write::Nothing,
                (false, _) => Write::Repair,
            },
            verdict: Verdict {
                allowed,
                delay: 0,
                remaining: if charged { room - cost } else { room },
                retry_after,
                reset_after,
            },
            expired,
            charge: Entry { at: now, cost },
        }
    }

    /// Does what a step on this very log decided.
    pub fn apply(&mut self, step: &LogStep) {
        if step.write == Write::Nothing {
            return;
        }
        let expired = step.expired.min(self.entries.len());
        let gone: u64 = self
            .entries
            .drain(..expired)
            .map(|entry| u64::from(entry.cost))
            .sum();
        self.total = self.total.saturating_sub(gone);
        self.follow_back(step.charge.at);
        if step.write == Write::Charge {
            self.total += u64::from(step.charge.cost);
            match self.entries.back_mut() {
                Some(last) if last.at == step.charge.at => last.cost += step.charge.cost,
                _ => self.entries.push_back(step.charge),
            }
        }
        // A burst long ago does not keep its memory.
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// Gives back up to `units` of what was charged at `charged_at`.
    pub fn refund(&mut self, charged_at: u64, units: u32) {
        if let Ok(index) = self
            .entries
            .binary_search_by_key(&charged_at, |entry| entry.at)
        {
            let entry = &mut self.entries[index];
            let back = entry.cost.min(units);
            entry.cost -= back;
            self.total = self.total.saturating_sub(u64::from(back));
            if entry.cost == 0 {
                self.entries.remove(index);
            }
        }
    }

    /// The instant from which the log equals a fresh key's.
    pub fn fresh_at(&self, period: u64) -> u64 {
        self.entries
            .back()
            .map_or(0, |entry| entry.at.saturating_add(period))
    }
}
