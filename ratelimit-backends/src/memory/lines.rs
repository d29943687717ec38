//! Every line that there may be, side by side. Memory is reserved for all of them at once, and the
//! operating system gives it page by page when a line is first written to: so a line is found by its
//! number alone, and never moves.

use super::line::{Line, SLOTS, Words};
use super::sync::AtomicU64;

/// In words.
const LINE: usize = 2 * SLOTS;

pub(super) struct Lines {
    words: Box<[AtomicU64]>,
    /// The word with which the first line starts, so that each fills a cache line.
    start: u8,
}

impl Lines {
    /// So many empty lines, or at least `fewest` when the operating system promises no memory for
    /// all of them.
    pub(super) fn new(lines: usize, fewest: usize) -> Self {
        let words = |lines: usize| lines.saturating_mul(LINE).saturating_add(LINE - 1);
        let halves = core::iter::successors(Some(lines), |lines| Some(lines / 2));
        let words = halves
            .take_while(|lines| *lines > fewest)
            .find_map(|lines| reserved(words(lines)))
            .unwrap_or_else(|| zeros(words(fewest)));
        // A pointer that cannot be aligned is allowed to say so, and costs but speed.
        let start = words.as_ptr().align_offset(size_of::<Words>());
        let start = u8::try_from(start).unwrap_or(0);
        Self { words, start }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        (self.words.len() - usize::from(self.start)) / LINE
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<Line<'_>> {
        let start = usize::from(self.start) + number as usize * LINE;
        let words = self.words.get(start..start + LINE)?;
        Some(Line::of(words.first_chunk()?))
    }
}

/// Zeros that take no memory before they are written to, if so many can be had.
#[cfg(not(loom))]
fn reserved(words: usize) -> Option<Box<[AtomicU64]>> {
    bytemuck::allocation::try_zeroed_slice_box(words).ok()
}

#[cfg(loom)]
fn reserved(_: usize) -> Option<Box<[AtomicU64]>> {
    None
}

fn zeros(words: usize) -> Box<[AtomicU64]> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn where_too_many_are_asked_for_there_are_fewer_of_them() {
        let all = Lines::new(1 << 50, 16);
        assert!((16..1 << 50).contains(&all.len()), "{}", all.len());
        let last = all.get(u32::try_from(all.len() - 1).unwrap_or(u32::MAX));
        assert!(last.is_some_and(|line| line.lock().used() == 0));
    }

    #[test]
    fn every_line_fills_one_cache_line() {
        for lines in [16, 1_000, 100_000] {
            let all = Lines::new(lines, 16);
            assert_eq!(all.len(), lines);
            assert!(all.get(u32::try_from(lines).unwrap()).is_none());
            let first = &raw const all.words[usize::from(all.start)];
            assert_eq!(first.align_offset(64), 0);
        }
    }
}
