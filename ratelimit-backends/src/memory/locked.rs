//! The lines of some keys, locked together.

use smallvec::SmallVec;

use super::line::{Head, LockedLine, Seen};
use super::table::{Table, tag};
use crate::hash::Fingerprint;

/// Some lines, in order, whose locks are held.
pub(super) struct Locked<'a> {
    table: &'a Table,
    lines: SmallVec<[(u32, LockedLine<'a>); 2]>,
}

/// A slot of a locked line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    line: usize,
    slot: usize,
}

impl Table {
    /// Locks the lines of these keys.
    pub(super) fn lock(&self, keys: &[Fingerprint]) -> Locked<'_> {
        loop {
            let mut wanted: SmallVec<[u32; 2]> = keys
                .iter()
                .filter_map(|key| self.home(*key))
                .flat_map(|home| home.lines)
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            let lines = wanted
                .into_iter()
                .filter_map(|number| Some((number, self.lock_line(number)?)));
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
}

impl<'a> Locked<'a> {
    fn covers(&self, key: Fingerprint) -> bool {
        self.pair(key).iter().all(Option::is_some)
    }

    fn position(&self, number: u32) -> Option<usize> {
        let found = self.lines.binary_search_by_key(&number, |line| line.0);
        found.ok()
    }

    /// The two lines of a key, by their position among those that are locked.
    fn pair(&self, key: Fingerprint) -> [Option<usize>; 2] {
        match self.table.home(key) {
            Some(home) => home.lines.map(|line| self.position(line)),
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

    /// The depth of the key's segment, as [`split`](Table::split) asks for it.
    pub(super) fn depth(&self, key: Fingerprint) -> u32 {
        self.table.depth(key)
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

    pub(super) fn put(&self, place: Place, head: Head, word: u64) {
        self.line(place.line).put(place.slot, head, word);
    }

    pub(super) fn clear(&self, place: Place) {
        self.line(place.line).clear(place.slot);
    }
}
