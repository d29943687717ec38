//! [`Decision`]: what a backend answers.

use core::fmt;
use core::time::Duration;

use crate::algorithm::{Algorithm, Span, Verdict};
use crate::checked::Checked;
use crate::clock::Timestamp;
use crate::few::Few;
use crate::limits::Limits;
use crate::quota::{PackedQuota, Quota};

/// Whether a call may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may.
    Allowed,
    /// It may, after waiting so long; its place is already charged.
    AllowedAfter(Duration),
    /// It may not.
    Denied,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The backend's store.
    Store,
    /// A denial that this process remembers.
    Cache,
    /// A slice of the budget that this process has taken.
    Lease,
    /// This process's memory, because the backend failed and the posture is `local`.
    Local,
    /// Nobody: the backend failed and the posture is `open`.
    Open,
    /// Nobody: the call was not to be limited (its cost is zero, or its policy is off).
    Unlimited,
}

/// What a decision charged, so that it can be given back or corrected. Opaque: only the backend
/// that made it understands it.
///
/// Give back each charge at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub(crate) at: Timestamp,
    pub(crate) cost: u32,
    /// The call was given a place in the leaky bucket's queue.
    pub(crate) queued: bool,
    /// How many of the next there are.
    buckets: u8,
    /// For buckets: the instant at which each was to be full again after this charge.
    charged_to: Few<Span>,
}

impl Charge {
    /// So many units charged at that instant, by the clock that decided.
    pub fn new(at: Timestamp, cost: u32) -> Self {
        Self {
            at,
            cost,
            ..Self::default()
        }
    }

    /// The same charge of buckets, which after it were to be full again at these instants, one for
    /// each rate in the order of their periods.
    #[must_use]
    pub fn with_full_at(mut self, full_at: &[Span]) -> Self {
        (self.charged_to, self.buckets) = Few::collect(full_at.iter().copied());
        self
    }

    /// The same charge of another number of units: a part of it, for who spends it in parts.
    #[must_use]
    pub fn with_cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// The charge of the one rate of a policy; of a bucket that was to be full again then.
    #[inline]
    pub(crate) const fn of_one(
        at: Timestamp,
        cost: u32,
        queued: bool,
        full_at: Option<Span>,
    ) -> Self {
        let (buckets, span) = match full_at {
            Some(full_at) => (1, full_at),
            None => (0, Span { whole: 0, part: 0 }),
        };
        Self {
            at,
            cost,
            queued,
            buckets,
            charged_to: Few::one(span),
        }
    }

    /// The instants at which the buckets were to be full again after this charge.
    pub fn full_at(&self) -> impl ExactSizeIterator<Item = Span> + '_ {
        self.charged_to.iter(self.buckets).copied()
    }

    /// Changes the instant at which each bucket was to be full again.
    pub(crate) fn change_full_at(&mut self, mut change: impl FnMut(usize, Span) -> Span) {
        self.charged_to
            .change(self.buckets, |rate, span| *span = change(rate, *span));
    }

    /// Units charged; 0 for a denial.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether it was made for a call that could be made to wait. Of those in a leaky bucket's queue, only the last can
    /// be given back.
    pub fn is_queued(&self) -> bool {
        self.queued
    }

    /// When it was charged, by the clock that decided.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// A backend's answer: whether the call may run, and what each rate says.
///
/// With several rates, [`remaining`](Self::remaining) is the smallest and
/// [`retry_after`](Self::retry_after) and [`reset_after`](Self::reset_after) are the longest.
///
/// It is small, and a policy of one rate needs no allocation for it, as it is also what a rejected
/// call returns.
#[derive(Clone, PartialEq, Eq)]
pub struct Decision {
    outcome: Outcome,
    source: Source,
    binding: u8,
    /// How many of the next there are.
    rates: u8,
    quotas: Few<PackedQuota>,
    charge: Charge,
}

impl Decision {
    /// A decision of one to four rates; those past four are dropped, and none means unlimited.
    pub fn new(outcome: Outcome, source: Source, quotas: &[Quota], charge: Charge) -> Self {
        let quotas = quotas.iter().map(|quota| (*quota).into());
        Self::of(outcome, source, quotas, charge)
    }

    /// An answer that nobody was asked for.
    pub fn unlimited(source: Source) -> Self {
        Self::new(Outcome::Allowed, source, &[], Charge::default())
    }

    pub(crate) fn from_verdicts<'a>(
        outcome: Outcome,
        algorithm: Algorithm,
        limits: &Limits,
        verdicts: impl ExactSizeIterator<Item = &'a Verdict>,
        charge: Charge,
    ) -> Self {
        let quotas = limits.as_slice().iter().zip(verdicts);
        let quotas =
            quotas.map(|(limit, verdict)| PackedQuota::new(limit.capacity(algorithm), verdict));
        Self::of(outcome, Source::Store, quotas, charge)
    }

    /// The answer of the one rate of a policy: the hottest path there is.
    #[inline]
    pub(crate) fn of_one(capacity: u32, verdict: &Verdict, charge: Charge) -> Self {
        Self {
            outcome: verdict.outcome(),
            source: Source::Store,
            binding: 0,
            rates: 1,
            quotas: Few::one(PackedQuota::new(capacity, verdict)),
            charge,
        }
    }

    /// The answer of a bucket.
    #[inline(always)]
    pub(crate) fn of_bucket(checked: Checked, charge: Charge) -> Self {
        Self {
            outcome: if checked.is_allowed() {
                Outcome::Allowed
            } else {
                Outcome::Denied
            },
            source: Source::Store,
            binding: 0,
            rates: 1,
            quotas: Few::one(checked.quota()),
            charge,
        }
    }

    fn of(
        outcome: Outcome,
        source: Source,
        quotas: impl IntoIterator<Item = PackedQuota>,
        charge: Charge,
    ) -> Self {
        let (quotas, rates) = Few::collect(quotas);
        Self {
            outcome,
            source,
            binding: binding(&quotas, rates),
            rates,
            quotas,
            charge,
        }
    }

    /// Whether the call may run.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the call may run, at once or after a delay.
    #[inline]
    pub fn is_allowed(&self) -> bool {
        !matches!(self.outcome, Outcome::Denied)
    }

    /// How long an admitted call has to wait before it runs.
    pub fn delay(&self) -> Duration {
        match self.outcome {
            Outcome::AllowedAfter(delay) => delay,
            _ => Duration::ZERO,
        }
    }

    /// Who decided.
    pub fn source(&self) -> Source {
        self.source
    }

    /// What each rate says, shortest period first; none where nobody was asked.
    pub fn quotas(&self) -> impl ExactSizeIterator<Item = Quota> + '_ {
        self.quotas.iter(self.rates).map(|quota| quota.unpack())
    }

    /// What the rate says that binds: the one that makes the call wait longest or, where none
    /// does, the one with least left. `None` where nobody was asked.
    pub fn binding(&self) -> Option<Quota> {
        self.quotas().nth(self.binding.into())
    }

    /// The limit of the rate that binds; `u32::MAX` where nobody was asked.
    pub fn limit(&self) -> u32 {
        self.binding().map_or(u32::MAX, |quota| quota.limit)
    }

    /// What could still be spent at this instant, after this call.
    pub fn remaining(&self) -> u32 {
        self.quotas()
            .map(|quota| quota.remaining)
            .min()
            .unwrap_or(u32::MAX)
    }

    /// How long until the same call would be admitted, if nothing else is; zero when it was.
    pub fn retry_after(&self) -> Duration {
        self.quotas()
            .map(|quota| quota.retry_after)
            .max()
            .unwrap_or_default()
    }

    /// How long until everything is available again, if nothing else is admitted.
    pub fn reset_after(&self) -> Duration {
        self.quotas()
            .map(|quota| quota.reset_after)
            .max()
            .unwrap_or_default()
    }

    /// What was charged.
    pub fn charge(&self) -> &Charge {
        &self.charge
    }

    /// The same answer, given by somebody else.
    pub fn with_source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// The same answer with another outcome, for a batch of which another check was denied.
    pub fn with_outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    /// The same answer as it stands so much later, if nothing was charged or given back since: the
    /// times are shorter by that, at most to zero.
    ///
    /// What remains is not less than it was; what is refilled in that time is counted where that is
    /// known, and all of it once everything is available again.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.quotas
            .change(self.rates, |_, quota| *quota = quota.later(by));
        if self.rates > 1 {
            self.binding = binding(&self.quotas, self.rates);
        }
        self
    }

    pub(crate) fn with_charge(self, charge: Charge) -> Self {
        Self { charge, ..self }
    }
}

/// The place of the rate that makes the call wait longest; where none does, of the one with least left.
fn binding(quotas: &Few<PackedQuota>, rates: u8) -> u8 {
    let quotas = (0..).zip(quotas.iter(rates));
    let binding =
        quotas.max_by_key(|(_, quota)| (quota.retry_after(), u32::MAX - quota.remaining()));
    binding.map_or(0, |(place, _)| place)
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("outcome", &self.outcome)
            .field("source", &self.source)
            .field("quotas", &self.quotas().collect::<Vec<_>>())
            .field("charged", &self.charge.cost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
