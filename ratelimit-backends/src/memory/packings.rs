//! The packings in use, each known by a number that fits a slot's head.

use std::sync::{Mutex, OnceLock, PoisonError};

use ratelimit_core::algorithm::Packing;

/// The number that says that the word is no packed state, but where it is kept.
pub(super) const UNPACKED: u8 = 1;

/// The numbers of packings: what seven bits can say, but "empty" and [`UNPACKED`].
const NUMBERS: core::ops::Range<u8> = 2..128;

/// Every packing that was ever asked for, up to as many as there are numbers: one for each
/// combination of algorithm, period, and what else tells how a word is read.
#[derive(Debug)]
pub(super) struct Packings {
    known: [OnceLock<Packing>; NUMBERS.end as usize],
    /// The number of the next one.
    next: Mutex<u8>,
}

impl Packings {
    pub(super) fn new() -> Self {
        Self {
            known: [const { OnceLock::new() }; NUMBERS.end as usize],
            next: Mutex::new(NUMBERS.start),
        }
    }

    /// The packing of that number.
    #[inline]
    pub(super) fn get(&self, number: u8) -> Option<&Packing> {
        self.known[usize::from(number & 0x7f)].get()
    }

    /// The number of a packing; `None` when there are no numbers left.
    pub(super) fn number(&self, packing: &Packing) -> Option<u8> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (NUMBERS.start..*next).find(|number| self.get(*number) == Some(packing));
        if known.is_some() {
            return known;
        }
        let number = *next;
        self.known.get(usize::from(number))?.set(*packing).ok()?;
        *next += 1;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_core::{Algorithm, Limits, Timestamp};

    #[test]
    fn a_packing_has_one_number_until_there_are_none_left() {
        let packings = Packings::new();
        let packing = |limit: u32| {
            let limits: Limits = format!("{limit}/{limit}s").parse().unwrap();
            Packing::of(Algorithm::FixedWindow, &limits, Timestamp::default()).unwrap()
        };
        let numbers: Vec<_> = (1..200)
            .map(|limit| packings.number(&packing(limit)))
            .collect();
        let given: Vec<_> = numbers.iter().flatten().copied().collect();
        assert_eq!(given, NUMBERS.collect::<Vec<_>>());
        assert!(numbers[given.len()..].iter().all(Option::is_none));
        assert_eq!(packings.number(&packing(1)), Some(2));
        assert_eq!(packings.get(3), Some(&packing(2)));
        assert_eq!(packings.get(UNPACKED), None);
    }
}
