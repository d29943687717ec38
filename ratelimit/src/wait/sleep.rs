//! [`Sleeper`]: what wakes a caller at an instant: the clock itself if it can, else the caller's own
//! thread if it is parked, else a timer of the background thread.

use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Poll, Waker};
use std::sync::Arc;
use std::task::Wake;

use ratelimit_core::{Clock, Error, Timestamp};
use tokio::task::AbortHandle;

use super::parker::Parker;
use crate::bridge;

/// Who waits.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// A task of any executor.
    Task,
    /// A thread, which is parked.
    Thread(Arc<Parker>),
}

/// What wakes one caller. It has one timer at a time.
pub(super) struct Sleeper {
    clock: Arc<dyn Clock>,
    caller: Caller,
    timer: Option<Timer>,
}

impl Sleeper {
    pub(super) fn new(clock: Arc<dyn Clock>, caller: Caller) -> Self {
        let timer = None;
        Self {
            clock,
            caller,
            timer,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Has the waker woken at that instant, and no more at the one before.
    pub(super) fn wake_at(&mut self, at: Timestamp, waker: &Waker) -> Result<(), Error> {
        let serves = |timer: &Timer| timer.serves(at, waker);
        if !self.timer.as_ref().is_some_and(serves) {
            // The old one first: a thread has only one alarm.
            self.timer = None;
            let timer = Timer::set(Arc::clone(&self.clock), &self.caller, at, waker)?;
            self.timer = Some(timer);
        }
        Ok(())
    }

    /// Sleeps until that instant.
    pub(super) async fn until(&mut self, at: Timestamp) -> Result<(), Error> {
        poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(Ok(()));
            }
            match self.wake_at(at, context.waker()) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await
    }
}

/// One instant at which a waker is woken, unless this is dropped before.
struct Timer {
    at: Timestamp,
    alarm: Arc<Alarm>,
    by: By,
}

/// What keeps the time.
enum By {
    Clock(Arc<dyn Clock>, Waker),
    Thread(Arc<Parker>),
    Background(AbortHandle),
}

impl Timer {
    fn set(
        clock: Arc<dyn Clock>,
        caller: &Caller,
        at: Timestamp,
        waker: &Waker,
    ) -> Result<Self, Error> {
        let alarm = Arc::new(Alarm {
            rang: AtomicBool::new(false),
            sleeper: waker.clone(),
        });
        let rings = Waker::from(Arc::clone(&alarm));
        let by = if clock.wake_at(at, &rings) {
            By::Clock(clock, rings)
        } else {
            match caller {
                Caller::Thread(parker) => {
                    parker.set_alarm(Some(at));
                    By::Thread(Arc::clone(parker))
                }
                Caller::Task => {
                    let left = at.since(clock.now());
                    By::Background(bridge::wake_after(left, rings)?)
                }
            }
        };
        Ok(Self { at, alarm, by })
    }

    /// Whether it will yet wake this one at that instant.
    fn serves(&self, at: Timestamp, waker: &Waker) -> bool {
        let rang = self.alarm.rang.load(Ordering::SeqCst);
        self.at == at && !rang && self.alarm.sleeper.will_wake(waker)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        match &self.by {
            By::Clock(clock, rings) => clock.forget(self.at, rings),
            By::Thread(parker) => parker.set_alarm(None),
            By::Background(task) => task.abort(),
        }
    }
}

/// Remembers that it woke the sleeper: the clock may have been stepped back since, and timers of
/// another clock may come early.
struct Alarm {
    rang: AtomicBool,
    sleeper: Waker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::SeqCst);
        self.sleeper.wake_by_ref();
    }
}
