//! [`within`]: a future that ends in time, whoever polls it.
//!
//! Tokio's timers panic where no runtime of it is at hand, or one without a clock, and there is no way
//! to ask for that beforehand. So the timers here are those of a runtime of ours: one thread that does
//! nothing but keep the time, for every executor. It is asleep unless a bound is reached, or its
//! earliest one changes: a call that is answered only enters itself into the timer's wheel and takes
//! itself out again.

use core::future::{Future, pending, poll_fn};
use core::mem;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use ratelimit_core::{Error, ErrorKind};
use tokio::runtime::{Builder, Handle};
use tokio::time::Sleep;

/// The runtime that keeps the time.
static TIMER: Timer = Timer::new();

/// A runtime on a thread of its own, from when it is needed first.
struct Timer {
    runtime: OnceLock<Handle>,
    starting: Mutex<()>,
}

/// The value of `work` if it is there within `bound` (rounded up to whole milliseconds), else an error
/// of the kind [`Timeout`](ErrorKind::Timeout), and then nobody polls the work any more.
///
/// It needs no runtime. What is ready when it is first polled needs no timer either. Work that blocks the
/// thread that polls it cannot be bounded. It is pinned where it is made: moved, it would be copied, and kept twice.
pub(crate) async fn within<F: Future + ?Sized>(
    bound: Duration,
    mut work: Pin<&mut F>,
) -> Result<F::Output, Error> {
    let first = poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(done) = first.await {
        return Ok(done);
    }
    // Work that uses up its task's budget must not keep the timer from being looked at.
    let mut alarm = pin!(tokio::task::unconstrained(sleep(bound)?));
    let mut was_polled = true;
    poll_fn(|context| {
        if !mem::take(&mut was_polled)
            && let Poll::Ready(done) = work.as_mut().poll(context)
        {
            return Poll::Ready(Ok(done));
        }
        let alarm = alarm.as_mut().poll(context);
        alarm.map(|()| Err(no_answer(bound)))
    })
    .await
}

/// Starts the thread that keeps the time, unless it runs already, so that its failure is known early.
pub(crate) fn prepare() -> Result<(), Error> {
    timer().map(drop)
}

fn no_answer(bound: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within {bound:?}"))
}

/// A timer that needs no runtime.
pub(crate) fn sleep(bound: Duration) -> Result<Sleep, Error> {
    let timer = timer()?;
    // A thread that is ending has lost what `enter` needs, which would panic.
    if Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed()) {
        return Err(Error::new(ErrorKind::Other, "the thread is ending"));
    }
    let _entered = timer.enter();
    Ok(tokio::time::sleep(bound))
}

fn timer() -> Result<&'static Handle, Error> {
    let thread = || thread::Builder::new().name("ratelimit-timer".to_owned());
    TIMER.get(|| start(thread()))
}

impl Timer {
    const fn new() -> Self {
        Self {
            runtime: OnceLock::new(),
            starting: Mutex::new(()),
        }
    }

    /// It is started if it does not run. What does not start is tried again by who comes next: the
    /// system may have had no room for a thread just then.
    fn get(&self, start: impl FnOnce() -> Result<Handle, Error>) -> Result<&Handle, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let _alone = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let started = start()?;
        Ok(self.runtime.get_or_init(|| started))
    }
}

/// The runtime is made on its thread: whoever starts it may be within another one, where it must not be
/// dropped should the thread not start.
fn start(thread: thread::Builder) -> Result<Handle, Error> {
    let failed = |error| {
        let message = "the thread that keeps the time did not start";
        Error::new(ErrorKind::Other, message).with_source(error)
    };
    let (sender, receiver) = sync_channel(1);
    let keep_time = move || match Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => {
            // Whoever starts it listens.
            let _ = sender.send(Ok(runtime.handle().clone()));
            runtime.block_on(pending::<()>());
        }
        Err(error) => drop(sender.send(Err(error))),
    };
    thread.spawn(keep_time).map_err(failed)?;
    match receiver.recv() {
        Ok(started) => started.map_err(failed),
        Err(_) => Err(failed(io::Error::other("it has ended"))),
    }
}

#[cfg(test)]
mod tests;
