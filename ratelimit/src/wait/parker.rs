//! [`Parker`]: runs a future on a thread that has nothing else to do, without any async runtime.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use ratelimit_core::{Clock, Timestamp};

/// A thread that sleeps until it is woken, or until an instant.
#[derive(Debug, Default)]
pub(super) struct Parker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    alarm: Option<Timestamp>,
}

impl Parker {
    /// When it wakes by itself, if it does.
    pub(super) fn set_alarm(&self, alarm: Option<Timestamp>) {
        self.lock().alarm = alarm;
    }

    /// Runs the future to its end.
    pub(super) fn block_on<T>(
        self: &Arc<Self>,
        clock: &dyn Clock,
        future: impl Future<Output = T>,
    ) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            self.park(clock);
        }
    }

    fn park(&self, clock: &dyn Clock) {
        let mut state = self.lock();
        while !state.woken {
            let poisoned = PoisonError::into_inner;
            state = match state.alarm {
                None => self.changed.wait(state).unwrap_or_else(poisoned),
                Some(at) => {
                    let left = at.since(clock.now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.changed.wait_timeout(state, left);
                    waited.map_or_else(|error| error.into_inner().0, |(state, _)| state)
                }
            };
        }
        state.woken = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.lock().woken = true;
        self.changed.notify_one();
    }
}
