//! [`Slice`]: units that the store has charged and that were not yet spent.

use core::time::Duration;

use ratelimit_core::{Algorithm, Charge, Decision, Outcome, Quota, Source, Timestamp};
use smallvec::SmallVec;

/// Units that the store has charged, and how long they may be spent.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// What the store charged for all of them.
    charge: Charge,
    pub(super) left: u32,
    sent: Timestamp,
    until: Timestamp,
    /// It ends with the store's window, after which nothing can be given back.
    dies_with_window: bool,
}

/// What the store said when a slice was taken, and when that was heard.
#[derive(Clone, Debug)]
pub(super) struct Report {
    decision: Decision,
    heard: Timestamp,
}

/// How long a slice may be spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) life: Duration,
    /// The tick of the store's clock.
    pub(super) resolution: Duration,
}

impl Slice {
    /// So many units that were charged by this decision, asked for at `sent`.
    ///
    /// The store decided after `sent`, so that what is spent within `life` of that is spent within
    /// `life` of the charge. A window is over for the store when the decision says so, counted from then
    /// on: counted from `sent` it is over earlier, by whatever clock. A store reads its clock rounded
    /// down to its ticks, so that the window may be over a tick earlier still.
    pub(super) fn new(
        algorithm: Algorithm,
        units: u32,
        decision: &Decision,
        sent: Timestamp,
        term: Term,
    ) -> Self {
        let windows = decision.quotas().map(|quota| quota.reset_after);
        let window = windows.min().filter(|_| !algorithm.is_bucket());
        let window = window.map(|window| window.saturating_sub(term.resolution));
        let window = window.filter(|window| *window <= term.life);
        Self {
            charge: decision.charge().clone().with_cost(units),
            left: units,
            sent,
            until: sent.plus(window.unwrap_or(term.life)),
            dies_with_window: window.is_some(),
        }
    }

    /// Whether it may be spent. Not if the clock stepped back to before it was asked for: it could then
    /// be spent for longer than its life.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.sent <= now && now < self.until
    }

    pub(super) fn until(&self) -> Timestamp {
        self.until
    }

    /// Spends so many units, if they are left.
    pub(super) fn spend(&mut self, cost: u32) -> Option<Charge> {
        self.left = self.left.checked_sub(cost)?;
        Some(self.charge.clone().with_cost(cost))
    }

    /// Takes back units of a charge that was spent from it, or from one that is as good.
    pub(super) fn take_back(&mut self, charge: &Charge, units: u32) -> bool {
        let same = self.charge.at() == charge.at() && self.charge.full_at().eq(charge.full_at());
        let left = self.left.saturating_add(units);
        if !same || left > self.charge.cost() {
            return false;
        }
        self.left = left;
        true
    }

    /// What is left, as a charge to give back; nothing where that is of no use.
    pub(super) fn rest(&self) -> Option<Charge> {
        let worth = self.left > 0 && !self.dies_with_window;
        worth.then(|| self.charge.clone().with_cost(self.left))
    }

    /// The same slice of so many units, and the rest of it as another one, if there is a rest.
    pub(super) fn split(mut self, most: u32) -> (Self, Option<Self>) {
        let mut rest = self.clone();
        self.left = self.left.min(most);
        rest.left -= self.left;
        let rest = Some(rest).filter(|rest| rest.left > 0);
        (self, rest)
    }
}

impl Report {
    pub(super) fn new(decision: Decision, heard: Timestamp) -> Self {
        Self { decision, heard }
    }

    /// What a call is told that spent from a slice, when so many units are left in this process.
    pub(super) fn told(&self, now: Timestamp, left: u32, charge: Charge) -> Decision {
        let since = now.since(self.heard);
        with_left(&self.decision.clone().later(since), left, charge)
    }
}

/// What the store says, and that so many units more can be spent, which this process holds.
pub(super) fn with_left(decision: &Decision, left: u32, charge: Charge) -> Decision {
    let quotas = decision.quotas().map(|quota| {
        let remaining = quota.remaining.saturating_add(left).min(quota.limit);
        Quota::new(quota.limit, remaining, Duration::ZERO, quota.reset_after)
    });
    let quotas: SmallVec<[Quota; 4]> = quotas.collect();
    Decision::new(Outcome::Allowed, Source::Lease, &quotas, charge)
}
