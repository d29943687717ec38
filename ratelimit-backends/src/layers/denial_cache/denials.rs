//! [`Denials`]: what is remembered of one key of a policy.

use core::time::Duration;

use ratelimit_core::{Check, Decision, Limits, Rate, Source, Timestamp};
use smallvec::SmallVec;

/// How many denials of one key are remembered: of different costs, or of calls that may wait
/// differently long.
pub(super) const MOST: usize = 8;

/// The denials of a key under one and the same limits.
#[derive(Clone, Debug)]
pub(super) struct Denials {
    /// The [epoch](super::epochs) in which all of these questions were asked.
    pub(super) epoch: u64,
    limits: SmallVec<[(Rate, Option<u32>); 1]>,
    known: SmallVec<[Denial; 1]>,
}

/// A denial, and the time in which it is an answer: from when the question was sent until before
/// the call could be admitted.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    cost: u32,
    max_delay: Duration,
    sent: Timestamp,
    until: Timestamp,
    decision: Decision,
}

/// What is known of a question.
pub(super) enum Known {
    /// It is denied.
    Denied(Decision),
    /// Nothing.
    Nothing,
    /// What is remembered is of no use any more: other limits may have changed what holds for these,
    /// or the clock stepped back to before a question was sent.
    Useless,
}

impl Denial {
    /// The denial of a question that was sent then; none that lasts no time.
    pub(super) fn of(
        check: &Check<'_>,
        sent: Timestamp,
        max_age: Duration,
        decision: &Decision,
    ) -> Option<Self> {
        let until = sent.plus(decision.retry_after().min(max_age));
        (until > sent).then(|| Self {
            cost: check.cost,
            max_delay: check.max_delay,
            sent,
            until,
            decision: decision.clone().with_source(Source::Cache),
        })
    }

    fn is_of(&self, check: &Check<'_>) -> bool {
        (self.cost, self.max_delay) == (check.cost, check.max_delay)
    }
}

impl Denials {
    /// The first denial of a key.
    pub(super) fn new(epoch: u64, limits: &Limits, denial: Denial) -> Self {
        let limits = limits.as_slice().iter();
        Self {
            epoch,
            limits: limits.map(|limit| (limit.rate(), limit.burst())).collect(),
            known: [denial].into_iter().collect(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether they are of these limits.
    pub(super) fn are_of(&self, limits: &Limits) -> bool {
        let limits = limits.as_slice();
        limits.len() == self.limits.len()
            && limits
                .iter()
                .zip(&self.limits)
                .all(|(limit, known)| (limit.rate(), limit.burst()) == *known)
    }

    /// What is known of a question that is asked now.
    ///
    /// The clock is read here, after what is known was found: so no other thread can have sent its
    /// question later, unless the clock stepped back.
    pub(super) fn answer(&self, check: &Check<'_>, now: impl FnOnce() -> Timestamp) -> Known {
        if !self.are_of(check.limits) {
            return Known::Useless;
        }
        let now = now();
        if self.known.iter().any(|denial| now < denial.sent) {
            return Known::Useless;
        }
        let mut denials = self.known.iter();
        let Some(denial) = denials.find(|denial| denial.is_of(check) && now < denial.until) else {
            return Known::Nothing;
        };
        let passed = now.since(denial.sent);
        Known::Denied(denial.decision.clone().later(passed))
    }

    /// The same with one more denial; those that it outlives are left out. `None` if what is known of
    /// its question already is newer.
    pub(super) fn with(&self, denial: Denial) -> Option<Self> {
        let is_same =
            |known: &Denial| (known.cost, known.max_delay) == (denial.cost, denial.max_delay);
        let mut known = self.known.iter();
        if known.any(|known| is_same(known) && known.sent > denial.sent) {
            return None;
        }
        let mut kept = self.clone();
        kept.known
            .retain(|known| !is_same(known) && known.until > denial.sent);
        if kept.known.len() >= MOST {
            // The one that is over first.
            let first = (0..kept.known.len()).min_by_key(|place| kept.known[*place].until);
            kept.known.remove(first.unwrap_or(0));
        }
        kept.known.push(denial);
        Some(kept)
    }
}
