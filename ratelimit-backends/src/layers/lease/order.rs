//! [`Behind`]: the checks of a key are decided in their order, though some are asked for together and
//! some by themselves.

use std::collections::HashMap;

use crate::hash::Fingerprint;
use crate::layers::subject::{Asked, Mixed};

/// How the first check of a key is asked for that waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Together with others of its key, for which what is held may be given back.
    Refill,
    /// By itself, in one call with all others that are.
    Alone,
}

/// The keys of a batch of which checks wait. Those of one fingerprint are taken for one.
pub(super) struct Behind {
    keys: HashMap<Fingerprint, Line, Mixed>,
    /// There are others.
    is_batch: bool,
    crossed: bool,
}

impl Behind {
    /// In a batch of so many checks.
    pub(super) fn of_batch(count: usize) -> Self {
        Self {
            keys: HashMap::default(),
            is_batch: count > 1,
            crossed: false,
        }
    }

    /// What a check of that key would come after.
    pub(super) fn first(&self, asked: &Asked<'_>) -> Option<Line> {
        self.keys.get(&asked.fingerprint).copied()
    }

    pub(super) fn refill(&mut self, asked: &Asked<'_>) {
        if self.is_batch {
            self.keys.insert(asked.fingerprint, Line::Refill);
        }
    }

    pub(super) fn alone(&mut self, asked: &Asked<'_>) {
        let check = asked.check;
        match self.first(asked) {
            Some(Line::Refill) => self.crossed = true,
            // What cannot be charged makes no difference to those who come after it.
            None if self.is_batch && (1..=check.capacity()).contains(&check.cost) => {
                self.keys.insert(asked.fingerprint, Line::Alone);
            }
            _ => {}
        }
    }

    /// Whether a check is asked for by itself that has to come after a refill.
    pub(super) fn is_crossed(&self) -> bool {
        self.crossed
    }
}
