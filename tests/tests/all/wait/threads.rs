//! Threads and tasks that wait, on whatever runs them.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ratelimit::{Algorithm, Ask, MonotonicClock, Policy, Registry, rate, ratelimit, testing};

use super::harness::{SECOND, Subject, TWO, eventually, waiting};

/// An executor that is nobody's.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

#[test]
fn a_thread_is_woken_by_the_clock_of_its_scope() {
    #[ratelimit(name = "thread waits", rate = "1/h", wait = "1h")]
    fn guarded() -> Option<()> {
        Some(())
    }

    let scope = testing::scope();
    assert!(guarded().is_some());
    let handle = scope.handle();
    let thread = thread::spawn(move || handle.run(guarded));
    eventually(|| scope.clock().sleepers() == 1);
    assert!(!thread.is_finished());
    scope.clock().advance(Duration::from_hours(1));
    assert!(thread.join().unwrap().is_some());
    // Whether it asks before the clock is moved or after, it waits as long as it must.
    for _ in 0..100 {
        let handle = scope.handle();
        let thread = thread::spawn(move || handle.run(guarded));
        scope.clock().advance(Duration::from_hours(1));
        assert!(thread.join().unwrap().is_some());
    }
    assert_eq!(
        (scope.clock().sleepers(), scope.registry().waiters()),
        (0, 0)
    );
}

#[test]
fn threads_and_tasks_stand_in_one_queue() {
    for polls in [0, 1] {
        let subject = Subject::with(|backend| {
            if polls > 0 {
                backend.slow(polls)
            } else {
                backend
            }
        });
        subject.fill("k");
        let order = Mutex::new(Vec::new());
        let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
        thread::scope(|threads| {
            for place in 0..4 {
                let (subject, ask, order) = (&subject, &ask, &order);
                threads.spawn(move || {
                    let answer = if place % 2 == 0 {
                        subject.registry.ask_blocking(ask)
                    } else {
                        block_on(subject.registry.ask(ask))
                    };
                    answer.unwrap();
                    order.lock().unwrap().push(place);
                });
                eventually(|| subject.clock.sleepers() == place + 1);
            }
            for admitted in [2, 4] {
                subject.clock.advance(10 * SECOND);
                eventually(|| order.lock().unwrap().len() == admitted);
                eventually(|| subject.clock.sleepers() == 4 - admitted);
            }
        });
        let mut order = order.into_inner().unwrap();
        // Two are admitted at once, and say so in either order.
        order[..2].sort_unstable();
        order[2..].sort_unstable();
        assert_eq!(order, [0, 1, 2, 3]);
        subject.assert_empty();
    }
}

#[test]
fn the_smoothing_queue_parks_threads_as_well() {
    static DRIP: Policy = Policy::new("threads drip", Algorithm::LeakyBucket, rate!("4/4s"));
    let subject = Subject::new();
    let ask = Ask::unkeyed(&DRIP).wait(10 * SECOND);
    subject.registry.ask_blocking(&ask).unwrap();
    thread::scope(|threads| {
        let thread = threads.spawn(|| subject.registry.ask_blocking(&ask));
        eventually(|| subject.clock.sleepers() == 1);
        subject.clock.advance(SECOND);
        assert_eq!(thread.join().unwrap().unwrap().delay(), SECOND);
    });
    subject.assert_empty();
}

#[tokio::test(flavor = "current_thread")]
async fn tasks_of_one_thread_wait_side_by_side() {
    let subject = Subject::new();
    subject.fill("k");
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let both = async { tokio::join!(subject.registry.ask(&ask), subject.registry.ask(&ask)) };
    let clock = async {
        while subject.registry.waiters() < 2 {
            tokio::task::yield_now().await;
        }
        subject.clock.advance(10 * SECOND);
    };
    let ((first, second), ()) = tokio::join!(both, clock);
    assert!(first.is_ok() && second.is_ok());
    subject.assert_empty();
}

/// Real time: short, and its bounds are wide.
#[test]
fn without_a_scope_real_time_is_waited_for() {
    static FAST: Policy = Policy::new("real time", Algorithm::TokenBucket, rate!("1/40ms"));
    static DRIP: Policy = Policy::new("real drip", Algorithm::LeakyBucket, rate!("3/120ms"));
    let registry = Registry::builder().build().unwrap();
    let ask = Ask::unkeyed(&FAST).wait(20 * SECOND);
    let drip = Ask::unkeyed(&DRIP).wait(20 * SECOND);
    let current_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        // It has no timers of its own.
        runtime.unwrap()
    };
    let start = Instant::now();
    registry.ask_blocking(&ask).unwrap();
    registry.ask_blocking(&ask).unwrap();
    block_on(registry.ask(&ask)).unwrap();
    current_thread().block_on(registry.ask(&ask)).unwrap();
    current_thread()
        .block_on(async { registry.ask_blocking(&ask) })
        .unwrap();
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(160), "{elapsed:?}");
    assert!(elapsed < 10 * SECOND, "{elapsed:?}");
    let start = Instant::now();
    registry.ask_blocking(&drip).unwrap();
    registry.ask_blocking(&drip).unwrap();
    block_on(registry.ask(&drip)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert_eq!(registry.waiters(), 0);
}

/// Real time, under a scope that is told so.
#[test]
fn a_scope_can_be_given_another_clock() {
    #[ratelimit(name = "real scope", rate = "1/20ms", wait = "20s")]
    fn guarded() -> Option<()> {
        Some(())
    }

    let builder = Registry::builder().clock(MonotonicClock::new());
    let _scope = testing::scope_with(|_| builder).unwrap();
    assert!((0..3).all(|_| guarded().is_some()));
}

#[test]
fn many_threads_are_admitted_exactly_to_the_limit() {
    let subject = Subject::new();
    let registry = Registry::builder()
        .clock(subject.clock.clone())
        .backend("counting", subject.backend.clone())
        .build()
        .unwrap();
    let ask = Ask::new(&TWO, "k").wait(49 * SECOND);
    let admitted = Mutex::new(Vec::new());
    thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| {
                if registry.ask_blocking(&ask).is_ok() {
                    admitted.lock().unwrap().push(());
                }
            });
        }
        for window in 1..=5 {
            // In the last one those are told that the next window comes too late.
            let waiting = if window < 5 { 16 - 2 * window } else { 0 };
            eventually(|| {
                admitted.lock().unwrap().len() == 2 * window
                    && registry.waiters() == waiting
                    && subject.clock.sleepers() == waiting
            });
            subject.clock.advance(10 * SECOND);
        }
    });
    assert_eq!(admitted.into_inner().unwrap().len(), 10);
}

#[test]
fn a_thread_and_a_task_that_waits_on_it_do_not_wait_for_ever() {
    // The thread that would have to poll the first one is parked behind it.
    let subject = Subject::new();
    subject.fill("k");
    let ask = Ask::new(&TWO, "k").wait(20 * SECOND);
    let mut first = waiting(&subject.registry, &ask);
    first.pending();
    let (clock, sleeping) = (subject.clock.clone(), subject.clock.clone());
    let helper = thread::spawn(move || {
        eventually(|| sleeping.sleepers() == 2);
        clock.advance(21 * SECOND);
    });
    assert!(subject.registry.ask_blocking(&ask).is_err());
    helper.join().unwrap();
    assert!(first.ready().is_ok());
}
