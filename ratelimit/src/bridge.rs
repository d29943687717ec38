//! The blocking bridge: lets callers that block use backends that decide elsewhere. It also keeps the
//! time of tasks that wait, whatever executor they are on.
//!
//! One background thread with a runtime of its own serves all of them. The caller's own async
//! runtime, if it has one, is never touched: a caller that blocks one of its workers could wait for
//! itself.

use core::cell::Cell;
use core::future::{Future, pending};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{OnceLock, mpsc};

use ratelimit_core::{BoxFuture, Error, ErrorKind};
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;

/// The runtime of the background thread, or why there is none.
static RUNTIME: OnceLock<Result<Handle, Error>> = OnceLock::new();

thread_local! {
    /// Whether this is the background thread.
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// The value of a future that is ready when it is first polled.
pub(crate) fn poll_now<T>(future: impl Future<Output = T>) -> Result<T, Error> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(Error::new(
            ErrorKind::Protocol,
            "the backend says that it answers at once, and does not",
        )),
    }
}

/// Runs a future on the background thread and waits for its value, at most so long.
pub(crate) fn run<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> BoxFuture<'static, T> + Send + 'static,
) -> Result<T, Error> {
    if is_here() {
        // It would wait for itself, and everybody else with it.
        return Err(refuses());
    }
    let runtime = runtime()?;
    let (sender, receiver) = mpsc::sync_channel(1);
    // The future is made over there, too: it may look for a runtime when it is made.
    let task = runtime.spawn(async move {
        // A caller that gave up does not listen any more.
        let _ = sender.send(work().await);
    });
    receiver.recv_timeout(timeout).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => {
            task.abort();
            Error::new(ErrorKind::Timeout, format!("no answer within {timeout:?}"))
        }
        mpsc::RecvTimeoutError::Disconnected => {
            Error::new(ErrorKind::Other, "the backend panicked")
        }
    })
}

/// Whether this is the background thread, which must not block.
pub(crate) fn is_here() -> bool {
    HERE.try_with(Cell::get).unwrap_or(false)
}

/// What a caller that would block the background thread is told.
pub(crate) fn refuses() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a backend that blocking callers use may not be such a caller itself",
    )
}

/// Lets the background thread do something that nobody waits for.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<AbortHandle, Error> {
    Ok(runtime()?.spawn(work).abort_handle())
}

/// Wakes somebody after a time.
pub(crate) fn wake_after(time: Duration, sleeper: Waker) -> Result<AbortHandle, Error> {
    spawn(async move {
        tokio::time::sleep(time).await;
        sleeper.wake();
    })
}

fn runtime() -> Result<&'static Handle, Error> {
    RUNTIME.get_or_init(start).as_ref().map_err(Clone::clone)
}

fn start() -> Result<Handle, Error> {
    let failed = |error| {
        Error::new(
            ErrorKind::Other,
            "the background thread for blocking callers did not start",
        )
        .with_source(error)
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("ratelimit-bridge".to_owned())
        .spawn(move || {
            HERE.set(true);
            runtime.block_on(pending::<()>());
        })
        .map_err(failed)?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_runs_elsewhere_and_gives_its_value_back() {
        let here = std::thread::current().id();
        let there = run(Duration::from_secs(10), || {
            Box::pin(async { std::thread::current().id() })
        });
        assert_ne!(there.unwrap(), here);
    }

    #[test]
    fn what_never_answers_is_a_timeout_and_what_panics_is_an_error() {
        let timeout = run(Duration::from_millis(20), || Box::pin(pending::<()>())).unwrap_err();
        assert_eq!(timeout.kind(), ErrorKind::Timeout);
        let panicked = run(Duration::from_secs(10), || -> BoxFuture<'static, ()> {
            panic!("on purpose")
        });
        assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Other);
        assert_eq!(
            run(Duration::from_secs(10), || Box::pin(async { 7 })).unwrap(),
            7
        );
    }

    #[test]
    fn a_backend_that_is_a_blocking_caller_itself_is_told_so_at_once() {
        let inner = run(Duration::MAX, || {
            Box::pin(async { run(Duration::MAX, || Box::pin(async { 7 })) })
        });
        assert_eq!(inner.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn a_current_thread_runtime_is_not_in_the_way() {
        let slept = run(Duration::from_secs(10), || {
            Box::pin(async { tokio::time::sleep(Duration::from_millis(1)).await })
        });
        slept.unwrap();
    }
}
