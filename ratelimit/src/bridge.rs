//! The blocking bridge: lets callers that block use backends that decide elsewhere. It also keeps the
//! time of tasks that wait, whatever executor they are on.
//!
//! One background thread with a runtime of its own serves all of them: connections and timers are there,
//! while each caller's thread works on its own question until it has to wait. The caller's own async
//! runtime, if it has one, is never touched: a caller that blocks one of its workers could wait for
//! itself.

use core::cell::Cell;
use core::future::{Future, pending};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Instant;

use ratelimit_core::{Error, ErrorKind};
use tokio::runtime::{Builder, Handle};
use tokio::task::{AbortHandle, unconstrained, yield_now};

/// The runtime of the background thread.
static BACKGROUND: Background = Background::new();

/// A runtime on a thread of its own, from when it is needed first.
struct Background {
    runtime: OnceLock<Handle>,
    starting: Mutex<()>,
}

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

/// The value of a future, for which this thread waits, at most so long.
///
/// The future is polled here, where its caller has nothing else to do; whatever it waits for is done by
/// the background thread, whose runtime is the current one meanwhile, also for who makes the future. So
/// many callers share what that thread has under way, and none costs it a task.
pub(crate) fn run<F: Future>(
    timeout: Duration,
    work: impl FnOnce() -> F,
) -> Result<F::Output, Error> {
    if is_here() {
        // It would wait for itself, and everybody else with it.
        return Err(refuses());
    }
    let runtime = runtime()?;
    // A thread that is ending has lost what `enter` needs, which would panic.
    if Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed()) {
        return Err(Error::new(ErrorKind::Other, "the thread is ending"));
    }
    let _entered = runtime.enter();
    // The caller may be a task of some runtime that has used up its budget, which does not end while the
    // thread is kept here.
    let waiting = AssertUnwindSafe(|| wait(timeout, pin!(unconstrained(work()))));
    match catch_unwind(waiting) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(Error::new(
            ErrorKind::Timeout,
            format!("no answer within {timeout:?}"),
        )),
        Err(_) => Err(Error::new(ErrorKind::Other, "the backend panicked")),
    }
}

/// Polls a future on this thread until it is ready, or the time is over.
fn wait<F: Future>(timeout: Duration, mut work: Pin<&mut F>) -> Option<F::Output> {
    let started = Instant::now();
    let signal = Arc::new(Signal {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    let deaf = wakes_too_late();
    loop {
        if let Poll::Ready(value) = work.as_mut().poll(&mut context) {
            return Some(value);
        }
        loop {
            let left = timeout.checked_sub(started.elapsed());
            let left = left.filter(|left| !left.is_zero())?;
            if signal.woken.swap(false, Ordering::Acquire) {
                break;
            }
            // It ends for no reason as well.
            if deaf {
                thread::park_timeout(left.min(LOOK_AGAIN));
                break;
            }
            thread::park_timeout(left);
        }
    }
}

/// How soon a future is looked at again whose wakers may not be heard.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Whether what yields on this thread is woken by the caller's runtime, which does so when the thread is
/// its own again: so it is for its workers, whatever runtime is the current one.
fn wakes_too_late() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    let signal = Arc::new(Signal {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&signal));
    let yields = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
    yields.is_pending() && !signal.woken.load(Ordering::Acquire)
}

/// Wakes a thread that waits.
struct Signal {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
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
    let thread = || thread::Builder::new().name("ratelimit-bridge".to_owned());
    BACKGROUND.get(|| start(thread()))
}

impl Background {
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
        Error::new(
            ErrorKind::Other,
            "the background thread for blocking callers did not start",
        )
        .with_source(error)
    };
    let (sender, receiver) = sync_channel(1);
    let serve = move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            HERE.set(true);
            // Whoever starts it listens.
            let _ = sender.send(Ok(runtime.handle().clone()));
            runtime.block_on(pending::<()>());
        }
        Err(error) => drop(sender.send(Err(error))),
    };
    thread.spawn(serve).map_err(failed)?;
    match receiver.recv() {
        Ok(started) => started.map_err(failed),
        Err(_) => Err(failed(io::Error::other("it has ended"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_future_waits_for_is_done_elsewhere() {
        let here = thread::current().id();
        let there = run(Duration::from_secs(10), || async {
            let there = tokio::spawn(async { thread::current().id() }).await;
            (thread::current().id(), there.unwrap())
        });
        let (polled, there) = there.unwrap();
        assert_eq!(polled, here);
        assert_ne!(there, here);
        assert!(
            Handle::try_current().is_err(),
            "no runtime is current any more"
        );
    }

    #[test]
    fn what_never_answers_is_a_timeout_and_what_panics_is_an_error() {
        let timeout = run(Duration::from_millis(20), pending::<()>).unwrap_err();
        assert_eq!(timeout.kind(), ErrorKind::Timeout);
        let awake = run(Duration::from_millis(20), || async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let awake: Result<(), _> = awake;
        assert_eq!(awake.unwrap_err().kind(), ErrorKind::Timeout);
        let panics = || async { panic!("on purpose") };
        let panicked: Result<(), _> = run(Duration::from_secs(10), panics);
        assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Other);
        assert_eq!(run(Duration::MAX, || async { 7 }).unwrap(), 7);
    }

    #[test]
    fn a_backend_that_is_a_blocking_caller_itself_is_told_so_at_once() {
        let inner = run(Duration::MAX, || async {
            tokio::spawn(async { run(Duration::MAX, || async { 7 }) }).await
        });
        let refused = inner.unwrap().unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn a_current_thread_runtime_is_not_in_the_way() {
        let sleep = || tokio::time::sleep(Duration::from_millis(1));
        run(Duration::from_secs(10), sleep).unwrap();
    }

    #[tokio::test]
    async fn what_yields_goes_on_within_a_runtime() {
        run(Duration::from_secs(10), tokio::task::yield_now).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_yields_goes_on_within_a_worker() {
        let yields = || run(Duration::from_secs(10), tokio::task::yield_now);
        tokio::spawn(async move { yields() })
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_task_that_has_used_up_its_budget_is_served() {
        // Each of these takes a part of it.
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        (0..1_000).for_each(|it| sender.send(it).unwrap());
        core::future::poll_fn(|context| {
            while receiver.poll_recv(context).is_ready() {}
            let slept = || tokio::time::sleep(Duration::from_millis(1));
            run(Duration::from_secs(10), slept).unwrap();
            Poll::Ready(())
        })
        .await;
    }

    /// Within a runtime, where another one must not be dropped.
    #[tokio::test]
    async fn a_thread_that_does_not_start_is_tried_again() {
        let background = Background::new();
        let too_large = || thread::Builder::new().stack_size(usize::MAX / 2);
        for _ in 0..2 {
            let failed = background.get(|| start(too_large())).unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Other);
            assert!(failed.to_string().contains("did not start"), "{failed}");
        }
        background.get(|| start(thread::Builder::new())).unwrap();
        background.get(|| panic!("it runs")).unwrap();
    }
}
