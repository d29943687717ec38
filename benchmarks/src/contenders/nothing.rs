//! No limiter at all: what the loop and the machine cost by themselves.

use std::sync::Mutex;

use super::Contender;
use crate::quota::Quota;

/// Admits everything, the second time and later under any quota.
pub struct Nothing(bool);

impl<K> Contender<K> for Nothing {
    fn new(quota: Quota, _: usize) -> Self {
        Self(quota.allows())
    }

    #[inline]
    fn is_allowed(&self, _: &K) -> bool {
        self.0
    }
}

/// Admits everything, and puts a few bytes of each call into memory that was not touched before, as
/// whoever keeps keys has to.
pub struct NewMemory(Mutex<Untouched>);

struct Untouched {
    words: Vec<u64>,
    next: usize,
}

/// What a key takes of ours, in words.
const WORDS: usize = 4;

impl<K> Contender<K> for NewMemory {
    fn new(_: Quota, keys: usize) -> Self {
        Self(Mutex::new(Untouched {
            words: vec![0; keys * WORDS],
            next: 0,
        }))
    }

    #[inline]
    fn is_allowed(&self, _: &K) -> bool {
        let mut untouched = self.0.lock().expect("nobody panics");
        let next = untouched.next;
        if let Some(word) = untouched.words.get_mut(next) {
            *word = 1;
            untouched.next += WORDS;
        }
        true
    }
}
