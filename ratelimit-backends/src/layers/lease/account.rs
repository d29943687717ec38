//! [`Account`]: what this process holds of one key's budget.

use core::mem;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ratelimit_core::{Charge, Check, Decision, Limits, OwnedCheck, Timestamp};
use smallvec::{SmallVec, smallvec};

use super::demand::Demand;
use super::returns::{Ended, Return, Returns, units};
use super::slice::{Report, Slice, with_left};

pub(super) type Slices = SmallVec<[Slice; 2]>;

/// The slices of a key under one and the same limits.
#[derive(Debug)]
pub(super) struct Account {
    check: OwnedCheck,
    /// How many units may be held and not be spent.
    most: u32,
    life: Duration,
    books: Mutex<Books>,
    returned: Ended,
}

/// What the store had when it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stock {
    /// As much as it was asked for.
    #[default]
    Enough,
    /// Less.
    Short,
    Empty,
}

#[derive(Debug, Default)]
struct Books {
    /// Those that were taken first come first. None is empty.
    slices: Slices,
    /// What the store said last.
    report: Option<Report>,
    demand: Demand,
    stock: Stock,
    /// Somebody gives back in time what is left.
    kept: bool,
    /// Somebody fetches more.
    fetching: bool,
    /// How often what is held became void.
    generation: u64,
    returns: Returns,
}

/// What to ask the store for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) amount: u32,
    /// It is likely not to have all of it.
    pub(super) short: bool,
    pub(super) generation: u64,
}

/// What became of a slice that was put into an account.
#[derive(Default)]
pub(super) struct Put {
    /// Units that are void.
    pub(super) void: u32,
    /// More than may be held.
    pub(super) excess: Option<Return>,
    /// Somebody has to give back in time what is left.
    pub(super) keep: bool,
}

/// A decision, and whether it is time to fetch more, which the caller then has to do.
pub(super) type Spent = (Decision, bool);

impl Account {
    /// Of the key of a check, of which so many units may be held for so long.
    pub(super) fn new(check: &Check<'_>, most: u32, life: Duration) -> Self {
        Self {
            check: check.to_owned(),
            most,
            life,
            books: Mutex::default(),
            returned: Ended::default(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Nothing that runs under the lock panics, and what it guards is whole at any time.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The question for so many units of this key.
    pub(super) fn check(&self, cost: u32) -> Check<'_> {
        self.check.as_check().with_cost(cost)
    }

    /// Whether it is of the key of that check.
    pub(super) fn is_of(&self, check: &Check<'_>) -> bool {
        let own = self.check.as_check();
        own.policy.identity() == check.policy.identity() && own.key == check.key
    }

    /// Whether its slices were charged under these limits.
    pub(super) fn is_under(&self, limits: &Limits) -> bool {
        self.check.as_check().limits == limits
    }

    /// Whether nothing is held that could be spent.
    pub(super) fn is_empty(&self, now: Timestamp) -> bool {
        self.books().left(now) == 0
    }

    /// Spends from what is held, and says whether it is time to fetch more.
    pub(super) fn spend(&self, cost: u32, now: Timestamp) -> Option<Spent> {
        let mut books = self.books();
        let (decision, left) = books.spend(cost, now)?;
        books.demand.add(cost, now, self.life);
        let fetch = !books.fetching && left < self.ahead(&books) / 2;
        books.fetching |= fetch;
        Some((decision, fetch))
    }

    /// Spends for somebody who has come before, and was counted then.
    pub(super) fn spend_later(&self, cost: u32, now: Timestamp) -> Option<Decision> {
        let (decision, _) = self.books().spend(cost, now)?;
        Some(decision)
    }

    /// Counts a call that was not served, and says whether the store is to be asked here: the key is
    /// asked for so often that slices of it are worth it, or something is held, which must not be why
    /// the call is denied.
    pub(super) fn missed(&self, cost: u32, now: Timestamp) -> bool {
        let mut books = self.books();
        books.demand.add(cost, now, self.life);
        self.ahead(&books) > 0 || books.left(now) > 0
    }

    fn ahead(&self, books: &Books) -> u32 {
        books.demand.ahead().min(self.most)
    }

    /// What to ask the store for, if so many units are needed; only those if nothing may be held.
    pub(super) fn plan(&self, needed: u32, now: Timestamp, may_hold: bool) -> Plan {
        let mut books = self.books();
        books.demand.advance(now, self.life);
        let left = books.left(now);
        let ahead = self.ahead(&books).saturating_sub(left);
        // Where there was nothing, it is not asked for more than it takes to know that.
        let ahead = if may_hold && books.stock != Stock::Empty {
            ahead
        } else {
            0
        };
        let capacity = self.check.as_check().capacity();
        Plan {
            amount: needed.saturating_add(ahead).min(capacity),
            short: books.stock != Stock::Enough,
            generation: books.generation,
        }
    }

    /// Learns how much of what it was asked for the store had.
    pub(super) fn learn(&self, had: u32, asked: u32) {
        let mut books = self.books();
        books.stock = match had {
            0 => Stock::Empty,
            _ if had < asked => Stock::Short,
            _ => Stock::Enough,
        };
    }

    /// Puts a slice in, unless what was asked for in that generation is void.
    pub(super) fn put(
        self: &Arc<Self>,
        slice: Slice,
        report: Report,
        generation: u64,
        now: Timestamp,
    ) -> Put {
        let mut books = self.books();
        let mut put = Put::default();
        if books.generation != generation {
            put.void = slice.left;
            return put;
        }
        books.report = Some(report);
        let room = self.most.saturating_sub(books.left(now));
        let (slice, excess) = if slice.is_live(now) {
            slice.split(room)
        } else {
            slice.split(0)
        };
        put.excess = excess.map(|excess| books.returns.start(self, smallvec![excess]));
        if slice.left > 0 {
            books.slices.push(slice);
            put.keep = !mem::replace(&mut books.kept, true);
        }
        put
    }

    /// Takes back units of a charge, if what it was spent from is still here and they may be held.
    pub(super) fn take_back(
        &self,
        charge: &Charge,
        units: u32,
        now: Timestamp,
    ) -> Option<Decision> {
        let mut books = self.books();
        if units > self.most.saturating_sub(books.left(now)) {
            return None;
        }
        let mut live = books.slices.iter_mut().filter(|slice| slice.is_live(now));
        live.find_map(|slice| slice.take_back(charge, units).then_some(()))?;
        let charged = charge.clone().with_cost(charge.cost() - units);
        books.told(now, charged)
    }

    /// What the store says, and what is held besides.
    pub(super) fn seen(&self, decision: Decision, cost: u32, now: Timestamp) -> Decision {
        let books = self.books();
        let left = books.left(now);
        let fits = |slice: &Slice| slice.is_live(now) && slice.left >= cost;
        if left > 0 && (decision.is_allowed() || books.slices.iter().any(fits)) {
            return with_left(&decision, left, decision.charge().clone());
        }
        decision
    }

    /// Takes out what is over; and says when the next slice will be. If there is none, nobody keeps
    /// watch any longer.
    pub(super) fn take_over(self: &Arc<Self>, now: Timestamp) -> (Return, Option<Timestamp>) {
        let mut books = self.books();
        let (live, over) = mem::take(&mut books.slices)
            .into_iter()
            .partition(|slice| slice.is_live(now));
        books.slices = live;
        let next = books.slices.iter().map(Slice::until).min();
        books.kept = next.is_some();
        (books.returns.start(self, over), next)
    }

    /// Nobody keeps watch any longer, whatever is left.
    pub(super) fn is_forsaken(&self) {
        self.books().kept = false;
    }

    /// Nobody fetches more any longer.
    pub(super) fn is_fetched(&self) {
        self.books().fetching = false;
    }

    /// Takes out everything.
    pub(super) fn take_all(self: &Arc<Self>) -> Return {
        let mut books = self.books();
        let slices = mem::take(&mut books.slices);
        books.returns.start(self, slices)
    }

    /// Takes out everything, and a slice that was asked for in that generation with it.
    pub(super) fn take_all_and(self: &Arc<Self>, slice: Slice, generation: u64) -> Return {
        let mut books = self.books();
        let mut slices = mem::take(&mut books.slices);
        let is_void = books.generation != generation;
        let void = if is_void { slice.left.into() } else { 0 };
        slices.extend((!is_void).then_some(slice));
        let mut back = books.returns.start(self, slices);
        back.void += void;
        back
    }

    /// What was taken out has gone back, or has not.
    pub(super) fn has_returned(&self) {
        if self.books().returns.end() {
            self.returned.wake();
        }
    }

    /// Waits until nothing that was taken out is on its way back.
    pub(super) async fn returned(&self) {
        self.returned.wait(|| self.books().returns.are_over()).await;
    }

    /// Makes void what is held, and what is under way.
    pub(super) fn forget(&self) -> u64 {
        self.books().forget()
    }

    /// The same; and what is taken out from now on is void, until the reset has ended.
    pub(super) fn start_reset(&self) -> u64 {
        let mut books = self.books();
        books.returns.start_reset();
        books.forget()
    }

    pub(super) fn end_reset(&self) {
        self.books().returns.end_reset();
    }
}

impl Books {
    fn forget(&mut self) -> u64 {
        self.generation += 1;
        self.stock = Stock::Enough;
        units(&mem::take(&mut self.slices))
    }

    /// How many units are held.
    fn left(&self, now: Timestamp) -> u32 {
        let live = self.slices.iter().filter(|slice| slice.is_live(now));
        live.fold(0, |left, slice| left.saturating_add(slice.left))
    }

    /// What a call is told, and how many units are left then.
    fn spend(&mut self, cost: u32, now: Timestamp) -> Option<(Decision, u32)> {
        let fits = |slice: &Slice| slice.is_live(now) && slice.left >= cost;
        let place = self.slices.iter().position(fits)?;
        let charge = self.slices[place].spend(cost)?;
        if self.slices[place].left == 0 {
            self.slices.remove(place);
        }
        let left = self.left(now);
        let report = self.report.as_ref()?;
        Some((report.told(now, left, charge), left))
    }

    fn told(&self, now: Timestamp, charge: Charge) -> Option<Decision> {
        let report = self.report.as_ref()?;
        Some(report.told(now, self.left(now), charge))
    }
}
