use core::cell::RefCell;
use core::task::{Context, Waker};
use std::sync::{Arc, mpsc};
use std::task::Wake;
use std::time::Instant;

use super::*;

/// Runs a future on this thread, without any runtime.
fn run<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

async fn bounded<F: Future>(bound: Duration, work: F) -> Result<F::Output, Error> {
    within(bound, pin!(work)).await
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_mins(1);

/// Neither early nor late, and what comes in time is there.
async fn is_bounded() {
    let started = Instant::now();
    let error = bounded(SHORT, pending::<()>()).await.unwrap_err();
    let taken = started.elapsed();
    assert_eq!(error.to_string(), "timeout: no answer within 20ms");
    assert!(taken >= SHORT && taken < LONG / 2, "{taken:?}");
    assert_eq!(bounded(LONG, answered_elsewhere(7)).await.unwrap(), 7);
    assert_eq!(bounded(Duration::ZERO, async { 7 }).await.unwrap(), 7);
}

/// A value that another thread gives, after a while.
async fn answered_elsewhere(value: u32) -> u32 {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        thread::sleep(SHORT);
        let _ = sender.send(value);
    });
    receiver.await.unwrap()
}

#[test]
fn it_needs_no_runtime() {
    run(is_bounded());
}

#[test]
fn it_needs_no_runtime_with_a_clock() {
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = builder.build().unwrap();
        runtime.block_on(is_bounded());
        runtime
            .block_on(async { tokio::spawn(is_bounded()).await })
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_runtime_whose_clock_stands_still_is_not_in_the_way() {
    is_bounded().await;
}

#[test]
fn bounds_of_any_length_are_fine() {
    assert_eq!(
        run(bounded(Duration::MAX, answered_elsewhere(7))).unwrap(),
        7
    );
    run(bounded(Duration::ZERO, pending::<()>())).unwrap_err();
}

#[test]
fn a_shorter_bound_is_not_kept_waiting_by_a_longer_one() {
    let mut long = pin!(bounded(LONG, pending::<()>()));
    let polled = long.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    run(is_bounded());
}

#[test]
fn work_that_is_always_busy_is_bounded() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    // There is always something to receive: only its task's budget makes this yield.
    sender.send(()).unwrap();
    let busy = async {
        while receiver.recv().await.is_some() {
            sender.send(()).unwrap();
        }
    };
    let kind = runtime.block_on(bounded(SHORT, busy)).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Timeout);
}

#[test]
fn work_that_was_given_up_is_dropped() {
    let (sender, receiver) = mpsc::channel::<()>();
    let work = async move {
        pending::<()>().await;
        drop(sender);
    };
    run(bounded(SHORT, work)).unwrap_err();
    assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

/// What is polled when a thread ends may find that its runtime's variables are gone.
#[test]
fn a_thread_that_is_ending_may_ask() {
    struct AtTheEnd(mpsc::Sender<bool>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let mut work = pin!(bounded(LONG, pending::<()>()));
            let polled = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            // Dropping the sender does not tell that this was reached.
            let _ = self
                .0
                .send(matches!(polled, Poll::Pending | Poll::Ready(Err(_))));
        }
    }
    thread_local! {
        static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    for ours_first in [true, false] {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let touch = || drop(Handle::try_current());
            let keep = || LAST.set(Some(AtTheEnd(sender)));
            if ours_first {
                keep();
                run(bounded(SHORT, pending::<()>())).unwrap_err();
            } else {
                touch();
                run(bounded(SHORT, pending::<()>())).unwrap_err();
                keep();
            }
        })
        .join()
        .unwrap();
        assert_eq!(receiver.recv(), Ok(true));
    }
}

/// Within a runtime, where another one must not be dropped.
#[tokio::test]
async fn a_thread_that_does_not_start_is_tried_again() {
    let timer = Timer::new();
    let too_large = || thread::Builder::new().stack_size(usize::MAX / 2);
    for _ in 0..2 {
        let failed = timer.get(|| start(too_large())).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Other);
        assert!(failed.to_string().contains("did not start"), "{failed}");
    }
    timer.get(|| start(thread::Builder::new())).unwrap();
    timer.get(|| panic!("it runs")).unwrap();
}
