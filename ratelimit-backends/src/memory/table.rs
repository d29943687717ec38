//! The table: segments of lines, found through a directory (extendible hashing: R. Fagin,
//! J. Nievergelt, N. Pippenger, H. R. Strong, 1979).
//!
//! A key may live in two lines of one segment; a new one goes to the first that has room. When
//! neither has, a key in its way is moved to its own other line; when none can be, the segment
//! is split in two by one more bit of its keys' tags, and nothing else moves: no growth stops a
//! caller for longer than it takes to copy one segment. A line of a segment becomes the same line of
//! the two that it is split into, so that segments need no hashes of whole keys. Lines are never
//! freed before the table, so that readers need no protection.
//!
//! Locks are taken in this order: `growing`, then lines by number.

use core::fmt;
use std::sync::{Mutex, PoisonError};

use smallvec::SmallVec;

use super::line::{Head, Line, LockedLine, SLOTS, Seen, TAG};
use super::lines::Lines;
use super::sync::{AtomicU32, AtomicUsize, Ordering};
use crate::hash::Fingerprint;

/// The most lines of a segment. Few enough that copying them takes some tens of microseconds.
const MOST_LINES: usize = 768;

/// The fewest: with less, two lines are seldom enough.
const FEWEST_LINES: usize = 16;

/// How many keys are moved in a row, each for the one before it, to make room for one.
const MOVES: u32 = 2;

/// How full a table of the most keys is to be, in hundredths.
const FULL: usize = 72;

/// The most keys of a table: those of as many segments as a directory of some megabytes leads to.
pub(super) const MOST_KEYS: usize = (MOST_LINES << 18) * SLOTS / 100 * FULL;

/// How many times more a segment can be split than the most keys ask for on average; one that can be
/// split no more is full. Of few keys, more may happen to be of one segment.
fn spare_splits(splits: u32) -> u32 {
    if splits == 0 { 2 } else { 1 }
}

/// Segments that there may be beyond one and a quarter times what the most keys ask for on average.
const SPARE_SEGMENTS: usize = 3;

/// The two lines of a key are of one such stretch of a segment, where it has so many: they share a
/// page of memory, whose address takes the processor longer to find than the line itself.
const STRETCH: usize = 64;

/// Where a key may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    /// The number of the first line of the segment.
    segment: u32,
    pub(super) lines: [u32; 2],
}

/// The bits of a fingerprint that a slot keeps; never 0.
#[inline(always)]
pub(super) fn tag(key: Fingerprint) -> u64 {
    (key.0 & TAG).max(!TAG + 1)
}

pub(super) struct Table {
    /// For each value of the highest bits of a fingerprint, the number of the first line of a
    /// segment.
    directory: Box<[AtomicU32]>,
    all: Lines,
    /// How many of the highest bits of their tags the keys of each segment have in common.
    depths: Box<[AtomicU32]>,
    /// How many segments are in use.
    segments: AtomicUsize,
    growing: Mutex<()>,
    /// Some [`STRETCH`]es, or part of one that is a power of two.
    segment_lines: u32,
    /// The bits of a line's number that are its place in its stretch.
    stretch: u32,
    /// How many of the highest bits of a fingerprint lead through the directory.
    bits: u32,
    /// Shifted by so many, a fingerprint is its place in the directory.
    shift: u32,
}

/// What a reader found, and in which line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    line: Line<'a>,
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
        let lines = max_keys.min(MOST_KEYS) as u64 * 100 / (FULL * SLOTS) as u64 + 1;
        let lines = usize::try_from(lines).unwrap_or(MOST_KEYS);
        let splits = lines.div_ceil(MOST_LINES).next_power_of_two().ilog2();
        let bits = splits + spare_splits(splits);
        let lines = lines.div_ceil(1 << splits).max(FEWEST_LINES);
        let lines = if lines < STRETCH {
            lines.next_power_of_two()
        } else {
            lines.next_multiple_of(STRETCH)
        };
        let segments = (1 << splits) + (1 << splits >> 2) + SPARE_SEGMENTS;
        let all = Lines::new(segments * lines, lines);
        let zeros = |count| (0..count).map(|_| AtomicU32::new(0)).collect();
        Self {
            directory: zeros(1_usize << bits),
            depths: zeros(all.len() / lines),
            all,
            segments: AtomicUsize::new(1),
            growing: Mutex::new(()),
            segment_lines: number(lines),
            stretch: number(lines.min(STRETCH) - 1),
            bits,
            shift: 64 - bits,
        }
    }

    /// The key's state, without a lock.
    #[inline(always)]
    pub(super) fn find(&self, key: Fingerprint) -> Option<Found<'_>> {
        let tag = tag(key);
        self.find_in(key, |line| line.find(tag))
    }

    /// The key's state if it is packed like that, without a lock.
    #[inline(always)]
    pub(super) fn find_packed(&self, key: Fingerprint, packing: u8) -> Option<Found<'_>> {
        // No slot has a head of the tag 0: one key of 2⁵⁶ is not found here, and takes the long way.
        let head = Head::new(key.0, packing);
        self.find_in(key, |line| line.find_head(head))
    }

    #[inline(always)]
    fn find_in(
        &self,
        key: Fingerprint,
        find: impl Fn(Line<'_>) -> Option<Seen>,
    ) -> Option<Found<'_>> {
        let segment = self.segment(key)?;
        let first = self.first_line(key);
        let line = self.all.get(segment + first)?;
        let other = self.all.get(segment + self.other_line(key.0, first))?;
        // One key in four is in its second line: the processor fetches both at once.
        other.fetch();
        match find(line) {
            Some(seen) => Some(Found { line, seen }),
            None => find(other).map(|seen| Found { line: other, seen }),
        }
    }

    /// The number of the first line of a key's segment.
    #[inline(always)]
    fn segment(&self, key: Fingerprint) -> Option<u32> {
        let place = usize::try_from(key.0 >> self.shift).ok()?;
        Some(self.directory.get(place)?.load(Ordering::Acquire))
    }

    pub(super) fn home(&self, key: Fingerprint) -> Option<Home> {
        let segment = self.segment(key)?;
        let first = self.first_line(key);
        let second = self.other_line(tag(key), first);
        Some(Home {
            segment,
            lines: [segment + first, segment + second],
        })
    }

    /// The numbers of the lines of a key.
    #[cfg(all(test, not(loom)))]
    pub(super) fn lines_of(&self, key: Fingerprint) -> [u32; 2] {
        self.home(key).unwrap().lines
    }

    /// The first line of a key. It follows from the eight bits that the tag lacks before any
    /// others, and the second line from the first and the tag, so that keys of one tag share a line
    /// as seldom as can be.
    #[inline(always)]
    fn first_line(&self, key: Fingerprint) -> u32 {
        #[allow(clippy::cast_possible_truncation)] // the bits that are wanted
        let bits = (key.0 as u32).rotate_right(8);
        // As far into the segment as the number is into its range: below the number of lines.
        #[allow(clippy::cast_possible_truncation)]
        let line = ((u64::from(bits) * u64::from(self.segment_lines)) >> 32) as u32;
        line
    }

    /// The second line of the key whose first it is, and the first of the one whose second it is:
    /// the two always differ in their last bit.
    #[inline(always)]
    fn other_line(&self, tag: u64, line: u32) -> u32 {
        #[allow(clippy::cast_possible_truncation)] // the bits that are wanted
        let way = (tag >> 16) as u32;
        line ^ (way & self.stretch | 1)
    }

    /// Makes room for a key by moving one that is in its way to that one's other line, where there
    /// is room or another can be moved for it, and says which before its lines are unlocked; `false`
    /// when none can be moved. (R. Pagh, F. F. Rodler, "Cuckoo hashing", 2001.)
    pub(super) fn relocate(&self, key: Fingerprint, on_move: impl Fn(&Seen)) -> bool {
        self.home(key).is_some_and(|home| {
            let mut from = home.lines.into_iter();
            from.any(|from| self.relieve(home.segment, from, MOVES, &on_move))
        })
    }

    /// Moves one of a line's keys to its other line, in so many moves at most.
    fn relieve(&self, segment: u32, from: u32, moves: u32, on_move: &impl Fn(&Seen)) -> bool {
        let tags: SmallVec<[u64; SLOTS]> = match self.all.get(from) {
            Some(line) => line.lock().iter().map(|seen| seen.head.tag()).collect(),
            None => return false,
        };
        let other = |tag: u64| segment + self.other_line(tag, from - segment);
        let transfer = |tag: &u64| {
            let to = other(*tag);
            let lines = (self.all.get(from.min(to)), self.all.get(from.max(to)));
            let (Some(first), Some(second)) = lines else {
                return false;
            };
            transfer([first, second], from < to, *tag, on_move)
        };
        tags.iter().any(transfer)
            || moves > 1
                && tags.iter().any(|tag| {
                    self.relieve(segment, other(*tag), moves - 1, on_move) && transfer(tag)
                })
    }

    /// How many of the highest bits of their tags the keys of a key's segment have in common: one more
    /// each time that it is split.
    pub(super) fn depth(&self, key: Fingerprint) -> u32 {
        let number = |segment| (segment / self.segment_lines) as usize;
        let depth = |segment| self.depths.get(number(segment));
        self.segment(key)
            .and_then(depth)
            .map_or(0, |depth| depth.load(Ordering::Relaxed))
    }

    /// Splits the segment of a key that had no room in it when it was of such a depth, unless somebody
    /// else has done so since; `false` when that cannot be.
    pub(super) fn split(&self, key: Fingerprint, depth: u32) -> bool {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        self.depth(key) > depth || self.split_alone(key).is_some()
    }

    /// Nobody else may be splitting a segment.
    fn split_alone(&self, key: Fingerprint) -> Option<()> {
        let from = self.segment(key)?;
        let segments = self.segments.load(Ordering::Relaxed);
        let new_depth = self.depths.get(segments)?;
        let to = number(segments) * self.segment_lines;
        let old_depth = self.depths.get((from / self.segment_lines) as usize)?;
        let depth = old_depth.load(Ordering::Relaxed);
        if depth >= self.bits {
            return None;
        }
        let lines = |segment| {
            let numbers = segment..segment + self.segment_lines;
            numbers.filter_map(|number| Some(self.all.get(number)?.lock()))
        };
        // Fetched one after the other while nobody waits, as a lock waits for what it locks.
        for line in (from..from + self.segment_lines).filter_map(|number| self.all.get(number)) {
            line.fetch();
        }
        let locked: Vec<_> = lines(from).collect();
        // Nobody knows of the new segment yet; the locks are for the sake of the interface.
        for (from, to) in locked.iter().zip(lines(to)) {
            let mut place = 0;
            for seen in from.iter() {
                if seen.head.tag() >> (63 - depth) & 1 == 1 {
                    to.put(place, seen.head, seen.word);
                    from.clear(seen.slot);
                    place += 1;
                }
            }
        }
        for one_more in [old_depth, new_depth] {
            one_more.store(depth + 1, Ordering::Relaxed);
        }
        self.segments.store(segments + 1, Ordering::Relaxed);
        // The second half of what led to the old segment leads to the new one.
        let span = 1_usize << (self.bits - depth);
        let first = usize::try_from(key.0 >> (64 - self.bits)).unwrap_or(0) / span * span;
        for place in &self.directory[first + span / 2..first + span] {
            place.store(to, Ordering::Release);
        }
        drop(locked);
        Some(())
    }

    /// How many lines are in use: those of every segment, from the first on.
    pub(super) fn lines(&self) -> u32 {
        number(self.segments.load(Ordering::Relaxed)) * self.segment_lines
    }

    /// Locks a line by its number.
    pub(super) fn lock_line(&self, number: u32) -> Option<LockedLine<'_>> {
        Some(self.all.get(number)?.lock())
    }

    /// The numbers of the lines of the segment of a key, as [`lock_line`](Self::lock_line) has them.
    pub(super) fn lines_beside(&self, key: Fingerprint) -> core::ops::Range<u32> {
        let segment = self.segment(key).unwrap_or(0);
        segment..segment + self.segment_lines
    }
}

/// Of lines, which are far fewer than that: a table of the most keys has 2^28 at most.
fn number(lines: usize) -> u32 {
    u32::try_from(lines).unwrap_or(u32::MAX)
}

/// Moves a key from one of its lines to the other, from the first to the second in the order in
/// which they are locked or the other way, if it is there and there is room.
pub(super) fn transfer(
    lines: [Line<'_>; 2],
    to_second: bool,
    tag: u64,
    on_move: &impl Fn(&Seen),
) -> bool {
    let [first, second] = lines.map(Line::lock);
    let (from, to) = if to_second {
        (first, second)
    } else {
        (second, first)
    };
    let (Some(seen), Some(place)) = (from.find(tag), to.empty()) else {
        return false;
    };
    // There before it is gone here: who finds it in neither asks again with the locks.
    to.put(place, seen.head, seen.word);
    from.clear(seen.slot);
    on_move(&seen);
    true
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("lines", &self.lines())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::hash::Seeds;
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
                assert_ne!(first, second, "{} lines", table.segment_lines);
                assert_eq!(table.other_line(tag(key), second), first);
            }
        }
    }

    #[test]
    fn no_key_has_the_tag_of_an_empty_slot() {
        for key in [0, 1, !TAG, TAG, u64::MAX] {
            assert_ne!(tag(Fingerprint(key)), 0);
            assert_eq!(tag(Fingerprint(key)) & !TAG, 0);
        }
    }
}
