//! The table: segments of lines, found through a directory (extendible hashing: R. Fagin,
//! J. Nievergelt, N. Pippenger, H. R. Strong, 1979).
//!
//! A key may live in two lines of one segment; a new one goes to the first that has room. When
//! neither has, a key in its way is moved to that one's other line; when none can be, the segment
//! is split in two by one more bit of its keys' tags, and nothing else moves: no growth stops a caller for longer than it takes to copy one segment. A line of a segment
//! becomes the same line of the two that it is split into, so that segments need no hashes of whole
//! keys. Segments are never freed before the table, so that readers need no protection.
//!
//! Locks are taken in this order: `growing`, then lines by segment and number.

use core::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use smallvec::SmallVec;

use super::hash::Fingerprint;
use super::line::{Line, LockedLine, SLOTS, Seen};
use super::sync::AtomicU32;
use super::sync::{AtomicUsize, Ordering};

/// The most lines of a segment. Few enough that copying them takes some microseconds.
const MOST_LINES: usize = 1_024;

/// The fewest, an even number: with less, two lines are seldom enough.
const FEWEST_LINES: usize = 16;

/// The most keys that are moved to make room for one.
const MOVES: u32 = 2;

/// How full a table of the most keys is to be, in hundredths.
const FULL: usize = 72;

/// The most keys of a table: those of as many segments as a directory of some megabytes leads to.
pub(super) const MOST_KEYS: usize = (MOST_LINES << 17) * SLOTS / 100 * FULL;

/// How often a segment can be split more often than the most keys ask for on average. One that can
/// be split no more is full.
const SPARE_SPLITS: u32 = 2;

/// Where a key may be.
#[derive(Clone, Copy, Debug)]
struct Home<'a> {
    segment: &'a Segment,
    number: u32,
    lines: [usize; 2],
}

#[derive(Debug)]
struct Segment {
    lines: Box<[Line]>,
    /// How many of the highest bits of their tags its keys have in common.
    depth: AtomicU32,
}

/// The bits of a fingerprint that a slot keeps; never 0.
#[inline(always)]
pub(super) fn tag(key: Fingerprint) -> u64 {
    (key.0 >> 8).max(1)
}

pub(super) struct Table {
    /// For each value of the highest bits of a fingerprint, the number of a segment.
    directory: Box<[AtomicU32]>,
    segments: Box<[OnceLock<Segment>]>,
    /// How many there are.
    count: AtomicUsize,
    growing: Mutex<()>,
    /// Of each segment: an even number.
    lines: usize,
    /// How many of the highest bits of a fingerprint lead through the directory.
    bits: u32,
    /// Shifted by so many, a fingerprint is its place in the directory.
    shift: u32,
}

/// What a reader found, and in which line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    line: &'a Line,
    pub(super) seen: Seen,
}

impl Found<'_> {
    /// Whether what was seen was the key's state at one instant.
    #[inline(always)]
    pub(super) fn holds(&self) -> bool {
        self.line.holds(&self.seen)
    }

    /// Stores another word if nothing has changed.
    #[inline(always)]
    pub(super) fn replace(&self, word: u64) -> bool {
        self.line.replace(&self.seen, word)
    }
}

impl Table {
    /// An empty table for so many keys, at most [`MOST_KEYS`].
    pub(super) fn new(max_keys: usize) -> Self {
        let lines = max_keys.min(MOST_KEYS) * 100 / (FULL * SLOTS) + 1;
        let splits = lines.div_ceil(MOST_LINES).next_power_of_two().ilog2();
        let bits = splits + SPARE_SPLITS;
        let table = Self {
            directory: (0..1_usize << bits).map(|_| AtomicU32::new(0)).collect(),
            segments: (0..1_usize << bits).map(|_| OnceLock::new()).collect(),
            count: AtomicUsize::new(1),
            growing: Mutex::new(()),
            lines: lines
                .div_ceil(1 << splits)
                .next_multiple_of(2)
                .max(FEWEST_LINES),
            bits,
            shift: 64 - bits,
        };
        table.segments[0].get_or_init(|| Segment::new(table.lines, 0));
        table
    }

    /// The key's state, without a lock.
    #[inline(always)]
    pub(super) fn find(&self, key: Fingerprint) -> Option<Found<'_>> {
        let (segment, _) = self.segment(key)?;
        let tag = tag(key);
        let first = self.first_line(key);
        let line = segment.lines.get(first)?;
        if let Some(seen) = line.find(tag) {
            return Some(Found { line, seen });
        }
        let line = segment.lines.get(self.second_line(key, first))?;
        let seen = line.find(tag)?;
        Some(Found { line, seen })
    }

    #[inline(always)]
    fn segment(&self, key: Fingerprint) -> Option<(&Segment, u32)> {
        let place = usize::try_from(key.0 >> self.shift).ok()?;
        let number = self.directory.get(place)?.load(Ordering::Acquire);
        Some((self.segments.get(number as usize)?.get()?, number))
    }

    fn home(&self, key: Fingerprint) -> Option<Home<'_>> {
        let (segment, number) = self.segment(key)?;
        let first = self.first_line(key);
        Some(Home {
            segment,
            number,
            lines: [first, self.second_line(key, first)],
        })
    }

    /// The first line of a key. It follows from the eight bits that the tag lacks before any
    /// others, and the second line from the first and the tag, so that keys of one tag share a line
    /// as seldom as can be.
    #[inline(always)]
    fn first_line(&self, key: Fingerprint) -> usize {
        #[allow(clippy::cast_possible_truncation)] // the bits that are wanted
        let bits = (key.0 as u32).rotate_right(8);
        self.scaled(bits)
    }

    #[inline(always)]
    fn second_line(&self, key: Fingerprint, first: usize) -> usize {
        self.other_line(tag(key), first)
    }

    /// The second line of the key whose first it is, and the first of the one whose second it is.
    /// The numbers of the two have an odd sum, modulo an even number of lines: they always differ.
    #[inline(always)]
    fn other_line(&self, tag: u64, line: usize) -> usize {
        #[allow(clippy::cast_possible_truncation)] // the bits that are wanted
        let sum = self.scaled((tag >> 8) as u32) | 1;
        if sum >= line {
            sum - line
        } else {
            sum + self.lines - line
        }
    }

    /// The line that is as far into a segment as a number is into its range.
    #[inline(always)]
    fn scaled(&self, bits: u32) -> usize {
        #[allow(clippy::cast_possible_truncation)] // below the number of lines
        let line = ((u64::from(bits) * self.lines as u64) >> 32) as usize;
        line
    }

    /// Locks the lines of these keys.
    pub(super) fn lock(&self, keys: &[Fingerprint]) -> Locked<'_> {
        loop {
            let mut wanted: SmallVec<[(u32, usize); 2]> = keys
                .iter()
                .filter_map(|key| self.home(*key))
                .flat_map(|home| home.lines.map(|line| (home.number, line)))
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            let lines = wanted.into_iter().filter_map(|(number, line)| {
                let segment = self.segments.get(number as usize)?.get()?;
                Some(((number, line), segment.lines.get(line)?.lock()))
            });
            let locked = Locked {
                table: self,
                lines: lines.collect(),
            };
            // Who splits a segment holds the locks of all its lines: what is true now stays so.
            if keys.iter().all(|key| locked.covers(*key)) {
                return locked;
            }
        }
    }

    /// Makes room for a key by moving one that is in its way to that one's other line, where there
    /// is room or another can be moved for it, and says which before its lines are unlocked; `false`
    /// when none can be moved. (R. Pagh, F. F. Rodler, "Cuckoo hashing", 2001.)
    pub(super) fn relocate(&self, key: Fingerprint, moved: impl Fn(&Seen)) -> bool {
        self.home(key).is_some_and(|home| {
            let lines = &home.segment.lines;
            let mut from = home.lines.into_iter();
            from.any(|from| self.relieve(lines, from, MOVES, &moved))
        })
    }

    /// Moves one of a line's keys to its other line, in so many moves at most.
    fn relieve(&self, lines: &[Line], from: usize, moves: u32, moved: &impl Fn(&Seen)) -> bool {
        let tags: SmallVec<[u64; SLOTS]> = match lines.get(from) {
            Some(line) => line.lock().iter().map(|seen| seen.head.tag()).collect(),
            None => return false,
        };
        let transfer = |tag: &u64| {
            let to = self.other_line(*tag, from);
            transfer(lines, *tag, from, to, moved)
        };
        tags.iter().any(transfer)
            || moves > 1
                && tags.iter().any(|tag| {
                    let to = self.other_line(*tag, from);
                    self.relieve(lines, to, moves - 1, moved) && transfer(tag)
                })
    }

    /// Splits the segment of a key; `false` when that cannot be.
    pub(super) fn split(&self, key: Fingerprint) -> bool {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(home) = self.home(key) else {
            return false;
        };
        let depth = home.segment.depth.load(Ordering::Relaxed);
        let number = self.count.load(Ordering::Relaxed);
        if depth >= self.bits || number >= self.segments.len() {
            return false;
        }
        // It is made before any lock is held: that takes longest.
        let Some(cell) = self.segments.get(number) else {
            return false;
        };
        let other = cell.get_or_init(|| Segment::new(self.lines, depth + 1));
        let from: Vec<_> = home.segment.lines.iter().map(Line::lock).collect();
        for (from, to) in from.iter().zip(&other.lines) {
            // Nobody knows of the new segment yet; the lock is for the sake of the interface.
            let to = to.lock();
            let mut place = 0;
            for seen in from.iter() {
                if seen.head.tag() >> (55 - depth) & 1 == 1 {
                    to.put(place, seen.head, seen.word);
                    from.clear(seen.slot);
                    place += 1;
                }
            }
        }
        home.segment.depth.store(depth + 1, Ordering::Relaxed);
        self.count.store(number + 1, Ordering::Relaxed);
        // The second half of what led to the old segment leads to the new one.
        let span = 1_usize << (self.bits - depth);
        let first = usize::try_from(key.0 >> (64 - self.bits)).unwrap_or(0) / span * span;
        let number = u32::try_from(number).unwrap_or(0);
        for place in &self.directory[first + span / 2..first + span] {
            place.store(number, Ordering::Release);
        }
        drop(from);
        true
    }

    /// How many lines there are.
    pub(super) fn lines(&self) -> usize {
        self.count.load(Ordering::Relaxed) * self.lines
    }

    /// Locks a line by its number, counted over all segments.
    pub(super) fn lock_line(&self, number: usize) -> Option<LockedLine<'_>> {
        let segment = self.segments.get(number / self.lines)?.get()?;
        Some(segment.lines.get(number % self.lines)?.lock())
    }

    /// The numbers of the lines of the segment of a key, as [`lock_line`](Self::lock_line) has them.
    pub(super) fn lines_beside(&self, key: Fingerprint) -> core::ops::Range<usize> {
        let number = self.home(key).map_or(0, |home| home.number as usize);
        number * self.lines..(number + 1) * self.lines
    }
}

/// Moves a key from one of its lines to the other, if it is there and there is room.
fn transfer(lines: &[Line], tag: u64, from: usize, to: usize, moved: &impl Fn(&Seen)) -> bool {
    debug_assert_ne!(from, to, "whose lock is not to be taken twice");
    let (Some(first), Some(second)) = (lines.get(from.min(to)), lines.get(from.max(to))) else {
        return false;
    };
    let (first, second) = (first.lock(), second.lock());
    let (from, to) = if from < to {
        (&first, &second)
    } else {
        (&second, &first)
    };
    let (Some(seen), Some(place)) = (from.find(tag), to.empty()) else {
        return false;
    };
    // There before it is gone here: who finds it in neither asks again with the locks.
    to.put(place, seen.head, seen.word);
    from.clear(seen.slot);
    moved(&seen);
    true
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("lines", &self.lines())
            .finish_non_exhaustive()
    }
}

impl Segment {
    fn new(lines: usize, depth: u32) -> Self {
        Self {
            lines: (0..lines).map(|_| Line::new()).collect(),
            depth: AtomicU32::new(depth),
        }
    }
}

/// Some lines, in order, whose locks are held.
pub(super) struct Locked<'a> {
    table: &'a Table,
    lines: SmallVec<[((u32, usize), LockedLine<'a>); 2]>,
}

/// A slot of a locked line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    line: usize,
    slot: usize,
}

impl<'a> Locked<'a> {
    fn covers(&self, key: Fingerprint) -> bool {
        self.table.home(key).is_some_and(|home| {
            home.lines
                .iter()
                .all(|line| self.position((home.number, *line)).is_some())
        })
    }

    fn position(&self, line: (u32, usize)) -> Option<usize> {
        self.lines.binary_search_by_key(&line, |(id, _)| *id).ok()
    }

    /// The two lines of a key, by their position among those that are locked.
    fn pair(&self, key: Fingerprint) -> [Option<usize>; 2] {
        match self.table.home(key) {
            Some(home) => home.lines.map(|line| self.position((home.number, line))),
            None => [None, None],
        }
    }

    fn line(&self, position: usize) -> &LockedLine<'a> {
        &self.lines[position].1
    }

    /// Where the key's state is.
    pub(super) fn find(&self, key: Fingerprint) -> Option<(Place, Seen)> {
        self.pair(key).into_iter().flatten().find_map(|line| {
            let seen = self.line(line).find(tag(key))?;
            let slot = seen.slot;
            Some((Place { line, slot }, seen))
        })
    }

    /// An empty slot for a new key, in the first of its lines that has one: where it is found soonest.
    pub(super) fn empty(&self, key: Fingerprint) -> Option<Place> {
        self.pair(key).into_iter().flatten().find_map(|line| {
            let slot = self.line(line).empty()?;
            Some(Place { line, slot })
        })
    }

    /// What stands in the two lines of a key.
    pub(super) fn beside(&self, key: Fingerprint) -> impl Iterator<Item = (Place, Seen)> + '_ {
        self.pair(key).into_iter().flatten().flat_map(|line| {
            self.line(line).iter().map(move |seen| {
                let slot = seen.slot;
                (Place { line, slot }, seen)
            })
        })
    }

    pub(super) fn put(&self, place: Place, head: super::line::Head, word: u64) {
        self.line(place.line).put(place.slot, head, word);
    }

    pub(super) fn clear(&self, place: Place) {
        self.line(place.line).clear(place.slot);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::hash::Seeds;
    use super::*;
    use ratelimit_core::{Algorithm, KeyRef, Policy};

    #[test]
    fn a_key_has_two_lines_and_each_leads_to_the_other() {
        let policy = Policy::new("p", Algorithm::Gcra, "1/s".parse().unwrap());
        let seeds = Seeds::random();
        for max_keys in [1, 50, 100, 3_000, 1_000_001] {
            let table = Table::new(max_keys);
            for key in 0..10_000_u32 {
                let key = seeds.key(&policy, KeyRef::from_bytes(&key.to_le_bytes()));
                let [first, second] = table.home(key).unwrap().lines;
                assert_ne!(first, second, "{} lines", table.lines);
                assert_eq!(table.other_line(tag(key), second), first);
            }
        }
    }
}
