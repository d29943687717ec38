//! Gives back what is not spent in time.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::sync::Arc;

use ratelimit_core::{Backend, Clock, Error, Timestamp};

use super::account::Account;
use super::refills::LONGEST;
use super::shared::Shared;
use crate::within::{sleep, within};

/// Gives back what is left of the slices of an account when they are over, until it has none.
pub(super) fn keep(
    shared: Arc<Shared>,
    inner: Arc<dyn Backend>,
    account: Arc<Account>,
) -> impl Future<Output = ()> + Send {
    // If the runtime ends, be it before this begins, the next slice that is put in has another keeper.
    let mut watch = Watch(Some(Arc::clone(&account)));
    async move {
        loop {
            let (over, next) = account.take_over(shared.now());
            if next.is_none() {
                watch.end();
            }
            let given = shared.give_back(&*inner, over);
            // A store that does not answer does not take it.
            let _ = within(LONGEST, pin!(given)).await;
            let Some(next) = next else {
                return;
            };
            if sleep_until(&*shared.clock, next).await.is_err() {
                return;
            }
        }
    }
}

struct Watch(Option<Arc<Account>>);

impl Watch {
    fn end(&mut self) {
        self.0 = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(account) = &self.0 {
            account.is_forsaken();
        }
    }
}

/// Sleeps for as long as it is until then, or less. It is not looked at the clock again: one that
/// stepped back meanwhile has ended what is watched.
async fn sleep_until(clock: &dyn Clock, at: Timestamp) -> Result<(), Error> {
    let left = at.since(clock.now());
    let woken = WokenByClock {
        clock,
        at,
        sleeper: None,
    };
    if !left.is_zero() && !woken.await {
        sleep(left)?.await;
    }
    Ok(())
}

/// Whether the clock itself said that it is time; at once if it does not do so.
struct WokenByClock<'a> {
    clock: &'a dyn Clock,
    at: Timestamp,
    sleeper: Option<Waker>,
}

impl WokenByClock<'_> {
    fn forget(&mut self) {
        if let Some(sleeper) = self.sleeper.take() {
            self.clock.forget(self.at, &sleeper);
        }
    }
}

impl Future for WokenByClock<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        if self.clock.now() >= self.at {
            return Poll::Ready(true);
        }
        let waker = context.waker();
        if self
            .sleeper
            .as_ref()
            .is_some_and(|sleeper| sleeper.will_wake(waker))
        {
            return Poll::Pending;
        }
        self.forget();
        if !self.clock.wake_at(self.at, waker) {
            return Poll::Ready(false);
        }
        self.sleeper = Some(waker.clone());
        Poll::Pending
    }
}

impl Drop for WokenByClock<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}
