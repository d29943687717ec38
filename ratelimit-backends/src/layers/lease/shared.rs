//! [`Shared`]: what all backends that ask one store, with connections for tasks or for threads that
//! block, know together.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ratelimit_core::{Adjust, Backend, Clock, Timestamp};
use tokio::runtime::Handle;

use super::accounts::Accounts;
use super::leased::Asking;
use super::returns::{Ended, Return};
use super::slice::Term;
use super::stats::LeaseStats;

/// What is held of a store's budgets.
pub(super) struct Shared {
    pub(super) accounts: Accounts,
    pub(super) term: Term,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stats: LeaseStats,
    /// Nothing may be held any longer.
    closed: AtomicBool,
    /// Trips to the store that are under way.
    trips: AtomicUsize,
    ended: Ended,
    /// The runtime that serves threads that block, and what asks there.
    blocking: Mutex<Option<(Handle, Weak<Asking>)>>,
}

/// A trip to the store, until it ends or is given up.
pub(super) struct Trip<'a>(&'a Shared);

impl Shared {
    pub(super) fn new(
        accounts: Accounts,
        term: Term,
        clock: Arc<dyn Clock>,
        stats: LeaseStats,
    ) -> Self {
        Self {
            accounts,
            term,
            clock,
            stats,
            closed: AtomicBool::new(false),
            trips: AtomicUsize::new(0),
            ended: Ended::default(),
            blocking: Mutex::new(None),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn start_trip(&self) -> Trip<'_> {
        self.trips.fetch_add(1, Ordering::SeqCst);
        Trip(self)
    }

    /// From now on nothing is held. Waits for what is under way, which then holds nothing.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let are_over = || self.trips.load(Ordering::SeqCst) == 0;
        self.ended.wait(are_over).await;
    }

    /// Where threads that block are served.
    pub(super) fn serves_blocking(&self, asking: &Arc<Asking>) {
        let mut blocking = self.blocking.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |(_, asking): &(_, Weak<Asking>)| asking.strong_count() > 0;
        if !blocking.as_ref().is_some_and(known)
            && let Ok(runtime) = Handle::try_current()
        {
            *blocking = Some((runtime, Arc::downgrade(asking)));
        }
    }

    /// Where threads that block are served, if any was.
    pub(super) fn blocking(&self) -> Option<(Handle, Arc<Asking>)> {
        let blocking = self.blocking.lock().unwrap_or_else(PoisonError::into_inner);
        let (runtime, asking) = blocking.as_ref()?;
        Some((runtime.clone(), asking.upgrade()?))
    }

    /// Gives back what is left of slices that were taken out of their account.
    pub(super) async fn give_back(&self, inner: &dyn Backend, back: Return) {
        self.stats.lose(back.void);
        let (mut adjusts, mut left) = (Vec::new(), 0);
        for slice in &back.slices {
            match slice.rest() {
                Some(charge) => {
                    left += u64::from(charge.cost());
                    let check = back.account.check(charge.cost());
                    adjusts.push(Adjust::refund(check, charge));
                }
                None => self.stats.lose(slice.left.into()),
            }
        }
        if adjusts.is_empty() {
            return;
        }
        let answers = inner.adjust(&adjusts).await;
        let mut returned = 0;
        for (adjust, answer) in adjusts.iter().zip(&answers) {
            if answer.is_ok() {
                returned += u64::from(adjust.charge.cost());
            }
        }
        self.stats.gave_back(returned);
        self.stats.lose(left - returned);
    }
}

impl Drop for Trip<'_> {
    fn drop(&mut self) {
        if self.0.trips.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.ended.wake();
        }
    }
}
