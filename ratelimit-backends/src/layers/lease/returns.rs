//! [`Return`]: units on their way back to the store, known from when they leave their account, so that
//! what must not overtake them waits.

use std::sync::Arc;

use tokio::sync::Notify;

use super::account::{Account, Slices};
use super::slice::Slice;

/// What goes back, or may not, of one account.
#[derive(Debug, Default)]
pub(super) struct Returns {
    under_way: usize,
    /// Resets that are under way.
    resets: usize,
}

/// Wakes who waits until nothing goes back.
#[derive(Debug, Default)]
pub(super) struct Ended(Notify);

/// Slices that were taken out of their account to be given back.
pub(super) struct Return {
    pub(super) account: Arc<Account>,
    pub(super) slices: Slices,
    /// Units that may not be given back.
    pub(super) void: u64,
}

impl Returns {
    /// Slices leave their account. While a reset is under way they are void: the store may have made
    /// the key fresh already.
    pub(super) fn start(&mut self, account: &Arc<Account>, slices: Slices) -> Return {
        self.under_way += 1;
        let mut back = Return {
            account: Arc::clone(account),
            slices,
            void: 0,
        };
        if self.resets > 0 {
            back.void = units(&core::mem::take(&mut back.slices));
        }
        back
    }

    /// One has ended; whether it was the last.
    pub(super) fn end(&mut self) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        self.are_over()
    }

    pub(super) fn are_over(&self) -> bool {
        self.under_way == 0
    }

    pub(super) fn start_reset(&mut self) {
        self.resets += 1;
    }

    pub(super) fn end_reset(&mut self) {
        self.resets = self.resets.saturating_sub(1);
    }
}

impl Ended {
    pub(super) fn wake(&self) {
        self.0.notify_waiters();
    }

    /// Waits until it is so.
    pub(super) async fn wait(&self, mut is_over: impl FnMut() -> bool) {
        loop {
            let woken = self.0.notified();
            if is_over() {
                return;
            }
            woken.await;
        }
    }
}

impl Drop for Return {
    fn drop(&mut self) {
        self.account.has_returned();
    }
}

/// How many units are left of slices.
pub(super) fn units(slices: &[Slice]) -> u64 {
    slices.iter().map(|slice| u64::from(slice.left)).sum()
}
