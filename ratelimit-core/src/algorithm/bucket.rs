//! The token bucket, also known as the generic cell rate algorithm.
//!
//! A bucket is one instant: the *theoretical arrival time* (TAT) of ITU-T Recommendation I.371,
//! annex A, at which it will be full again. `TAT - now` is the bucket's debt in time; `burst`
//! units of the rate's interval are the most that it can owe. That is exactly a bucket that is
//! refilled continuously, without the rounding that counting tokens brings.

use core::cmp::Ordering;

use super::{Span, Step, Terms, Verdict, Write};

/// A bucket: the instant at which it is full again.
///
/// The default is a bucket that has always been full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The instant, since the epoch of the clock.
    pub full_at: Span,
    /// The denominator of `full_at.part`, that of the [`Terms`] it was stored with.
    pub q: u32,
}

impl State {
    /// When it is full again, in these terms.
    fn full_at(&self, terms: &Terms) -> Span {
        if self.q == terms.q || self.full_at.part == 0 {
            return self.full_at;
        }
        // The rate was changed: the fraction of a tick is rounded up, never down.
        Span {
            whole: self.full_at.whole.saturating_add(1),
            part: 0,
        }
    }

    /// The earliest instant at which it can have been charged: it never owes more than the fill time.
    pub(super) fn charged_since(&self, terms: &Terms) -> u64 {
        self.full_at(terms).minus(terms.fill, terms.q).ceil()
    }

    /// The debt at `now`, at most the fill time; and whether it was more.
    pub(super) fn debt(&self, terms: &Terms, now: u64) -> (Span, bool) {
        let full_at = self.full_at(terms);
        if full_at.whole < now {
            return (Span::default(), false);
        }
        let debt = Span {
            whole: full_at.whole - now,
            part: full_at.part,
        };
        if debt > terms.fill {
            (terms.fill, true)
        } else {
            (debt, false)
        }
    }

    pub(super) fn owing(debt: Span, terms: &Terms, now: u64) -> Self {
        let full_at = Span {
            whole: now.saturating_add(debt.whole),
            part: debt.part,
        };
        Self {
            full_at,
            q: terms.q,
        }
    }

    /// Which of the two is full later.
    pub(super) fn cmp_full_at(&self, other: &Self) -> Ordering {
        let parts =
            |one: &Self, other: &Self| u64::from(one.full_at.part) * u64::from(other.q.max(1));
        let whole = self.full_at.whole.cmp(&other.full_at.whole);
        whole.then_with(|| parts(self, other).cmp(&parts(other, self)))
    }

    /// The instant from which the state equals a fresh key's.
    pub fn fresh_at(&self) -> u64 {
        self.full_at.ceil()
    }
}

/// Decides `cost` units at `now`. A cost of zero asks and charges nothing.
#[inline]
pub fn step(state: State, terms: &Terms, now: u64, cost: u32) -> Step<State> {
    if terms.q == 1 && state.full_at.part == 0 {
        let step = step_in_ticks(state.full_at.whole, terms, now, cost);
        let full_at = Span {
            whole: step.full_at,
            part: 0,
        };
        let q = match step.write {
            Write::Nothing => state.q,
            _ => terms.q,
        };
        return Step {
            state: State { full_at, q },
            write: step.write,
            verdict: Verdict {
                allowed: step.allowed,
                delay: 0,
                remaining: terms.units_in(Span {
                    whole: terms.fill.whole - step.debt,
                    part: 0,
                }),
                retry_after: step.retry_after,
                reset_after: step.debt,
            },
        };
    }
    step_in_parts(state, terms, now, cost)
}

/// What a step in whole ticks says. It does not say what is left: that takes a division, which takes
/// longer than the step.
#[derive(Clone, Copy, Debug)]
pub(super) struct TickStep {
    pub(super) full_at: u64,
    pub(super) write: Write,
    pub(super) allowed: bool,
    /// How long until the bucket is full.
    pub(super) debt: u64,
    pub(super) retry_after: u64,
}

/// The step of a rate whose interval is a whole number of ticks, of a bucket that is full again at
/// `full_at`: nearly every one, in the fewest instructions.
#[inline(always)]
pub(super) fn step_in_ticks(full_at: u64, terms: &Terms, now: u64, cost: u32) -> TickStep {
    let (interval, fill) = (terms.interval.whole, terms.fill.whole);
    let found = full_at.saturating_sub(now);
    let debt = found.min(fill);
    let total = debt.saturating_add(interval.saturating_mul(cost.into()));
    // The fill time is that of the burst, so that a cost above it never fits.
    if total <= fill {
        let write = match (cost, found > fill) {
            (0, false) => Write::Nothing,
            (0, true) => Write::Repair,
            _ => Write::Charge,
        };
        return TickStep {
            // Instants are below 2⁶³, and it takes less than 2⁶² nanoseconds to fill a bucket.
            full_at: if write == Write::Nothing {
                full_at
            } else {
                now.wrapping_add(total)
            },
            write,
            allowed: true,
            debt: total,
            retry_after: 0,
        };
    }
    let (full_at, write) = if found > fill {
        (now.wrapping_add(fill), Write::Repair)
    } else {
        (full_at, Write::Nothing)
    };
    TickStep {
        full_at,
        write,
        allowed: false,
        debt,
        retry_after: if cost > terms.burst {
            u64::MAX
        } else {
            total - fill
        },
    }
}

#[inline(never)]
fn step_in_parts(state: State, terms: &Terms, now: u64, cost: u32) -> Step<State> {
    let (debt, ahead) = state.debt(terms, now);
    let total = debt.plus(terms.time_of(cost), terms.q);
    if cost <= terms.burst && total <= terms.fill {
        let write = match (cost, ahead) {
            (0, false) => Write::Nothing,
            (0, true) => Write::Repair,
            _ => Write::Charge,
        };
        let state = if write == Write::Nothing {
            state
        } else {
            State::owing(total, terms, now)
        };
        return Step {
            state,
            write,
            verdict: verdict(terms, total, true, 0),
        };
    }
    let retry_after = if cost > terms.burst {
        u64::MAX
    } else {
        total.minus(terms.fill, terms.q).ceil()
    };
    denied(state, terms, now, retry_after)
}

/// A denial: it writes nothing, unless the state lies further ahead than it could ever be put.
pub(super) fn denied(state: State, terms: &Terms, now: u64, retry_after: u64) -> Step<State> {
    let (debt, ahead) = state.debt(terms, now);
    let (state, write) = if ahead {
        (State::owing(debt, terms, now), Write::Repair)
    } else {
        (state, Write::Nothing)
    };
    Step {
        state,
        write,
        verdict: verdict(terms, debt, false, retry_after),
    }
}

fn verdict(terms: &Terms, debt: Span, allowed: bool, retry_after: u64) -> Verdict {
    Verdict {
        allowed,
        delay: 0,
        remaining: terms
            .units_in(terms.fill.minus(debt, terms.q))
            .min(terms.burst),
        retry_after,
        reset_after: debt.ceil(),
    }
}

/// Gives back up to `units` of a charge after which the bucket was to be full at `charged_to`:
/// the part of them that has not been refilled since. An expired charge gives back nothing.
///
/// What was refilled is told from `charged_to` alone, which stays where it was when a charge before
/// it is given back. So some time may be given twice, to one and by the other; what is given back
/// in all is never more than was charged.
pub fn refund(state: State, terms: &Terms, now: u64, charged_to: Span, units: u32) -> State {
    let (debt, _) = state.debt(terms, now);
    if charged_to.whole < now || debt == Span::default() {
        return state;
    }
    let charged_to = in_terms(charged_to, terms);
    let left = Span {
        whole: charged_to.whole - now,
        ..charged_to
    };
    let back = terms.time_of(units).min(left);
    State::owing(debt.minus(back, terms.q), terms, now)
}

/// Where a charge leads that led to `charged_to` and to which `units` are added at `now`: so much
/// later, or than `now` if it was refilled before.
pub(super) fn charged_more(charged_to: Span, terms: &Terms, now: u64, units: u32) -> Span {
    let since = in_terms(charged_to, terms).max(Span {
        whole: now,
        part: 0,
    });
    since.plus(terms.time_of(units), terms.q)
}

/// Where a charge leads that led to `charged_to` and of which `units` were given back.
pub(super) fn charged_less(charged_to: Span, terms: &Terms, units: u32) -> Span {
    in_terms(charged_to, terms).minus(terms.time_of(units), terms.q)
}

/// The rate may have changed since: what is no fraction of these terms is dropped.
fn in_terms(charged_to: Span, terms: &Terms) -> Span {
    let part = if charged_to.part < terms.q {
        charged_to.part
    } else {
        0
    };
    Span {
        whole: charged_to.whole,
        part,
    }
}
