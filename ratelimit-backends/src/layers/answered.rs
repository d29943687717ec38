//! [`Answered`]: how many questions a layer answered by itself, and how many it did not.

use core::sync::atomic::{AtomicU64, Ordering};

use super::subject::Asked;
use crate::hash::Fingerprint;

/// How many counters there are of what every call counts, so that threads seldom share one.
const STRIPES: usize = 16;

/// What is counted, by the questions' fingerprints.
#[derive(Default)]
pub(super) struct Answered([Stripe; STRIPES]);

/// Two cache lines, as processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Answered {
    /// Questions that the layer answered.
    pub(super) fn hits(&self) -> u64 {
        let hits = self.0.iter().map(|stripe| &stripe.hits);
        hits.map(|hits| hits.load(Ordering::Relaxed)).sum()
    }

    /// Questions that take at least one unit and that the store was asked.
    pub(super) fn misses(&self) -> u64 {
        let misses = self.0.iter().map(|stripe| &stripe.misses);
        misses.map(|misses| misses.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn hit(&self, asked: &Asked<'_>) {
        if let Some(stripe) = self.of(asked.fingerprint) {
            stripe.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn missed(&self, asked: &Asked<'_>) {
        if asked.check.cost > 0
            && let Some(stripe) = self.of(asked.fingerprint)
        {
            stripe.misses.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, Fingerprint(bits): Fingerprint) -> Option<&Stripe> {
        let [.., last] = bits.to_le_bytes();
        self.0.get(usize::from(last) % STRIPES)
    }
}
