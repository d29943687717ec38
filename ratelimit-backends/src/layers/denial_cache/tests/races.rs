//! What happens while an answer is under way.

use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};
use std::thread;

use super::*;

/// A backend of one key that denies unless the key is fresh, and answers only when its second half is
/// polled: between the two, its answer is under way.
#[derive(Default)]
struct Distant {
    /// How often it was made fresh, less how often that was used.
    fresh: AtomicU32,
}

/// Lets somebody else go on once.
async fn turn() {
    let mut had = false;
    poll_fn(|_| {
        if core::mem::replace(&mut had, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

impl Distant {
    fn decide_one(&self) -> Decision {
        let used = self
            .fresh
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |fresh| {
                fresh.checked_sub(1)
            });
        match used {
            Ok(_) => allowed(),
            Err(_) => denied(60 * SECOND),
        }
    }
}

impl Backend for Distant {
    fn capabilities(&self) -> &Capabilities {
        &ALL
    }
    fn decide<'a>(&'a self, checks: &'a [Check<'a>], _: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let answers = checks.iter().map(|_| Ok(self.decide_one())).collect();
            turn().await;
            answers
        })
    }
    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        self.decide(checks, Join::Each)
    }
    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            turn().await;
            self.fresh.fetch_add(1, Ordering::SeqCst);
            turn().await;
            vec![Ok(allowed()); adjusts.len()]
        })
    }
    fn reset<'a>(&'a self, _: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            turn().await;
            self.fresh.fetch_add(1, Ordering::SeqCst);
            turn().await;
            Ok(())
        })
    }
    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(async { Ok(Pong::new(SECOND)) })
    }
    fn sweep(&self, _: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(async { Ok(Swept::new(0, 0)) })
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(turn())
    }
}

fn distant() -> (Arc<dyn Backend>, DenialStats) {
    around(Arc::default())
}

fn around(distant: Arc<Distant>) -> (Arc<dyn Backend>, DenialStats) {
    let cache = DenialCache::new()
        .max_age(60 * SECOND)
        .clock(ManualClock::new());
    let backend = cache.layer(distant).unwrap();
    (backend, cache.stats())
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    core::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
    }
}

/// Every order in which a question and a reset can pass each other: each has its steps, and `turns`
/// says by its bits whose is next. Afterwards nothing denied may be remembered, unless it was asked
/// after the reset.
fn passing(turns: u32, correct: bool) {
    let (backend, _) = distant();
    let policy = policy();
    let key = check(&policy, b"k");
    let checks = [key];
    let adjusts = [Adjust::refund(key, allowed().charge().clone())];
    let mut question = backend.decide(&checks, Join::Each);
    let mut fresh: BoxFuture<'_, ()> = if correct {
        let answers = backend.adjust(&adjusts);
        Box::pin(async { drop(answers.await) })
    } else {
        let reset = backend.reset(&checks);
        Box::pin(async { reset.await.unwrap() })
    };
    let (mut told, mut is_fresh) = (None, false);
    for turn in 0..16 {
        if turns >> turn & 1 == 1 {
            if told.is_none()
                && let Poll::Ready(answers) = poll(&mut question)
            {
                told = Some(answers[0].as_ref().unwrap().outcome());
            }
        } else if !is_fresh {
            is_fresh = poll(&mut fresh).is_ready();
        }
    }
    let told = told.unwrap_or_else(|| finish(question)[0].as_ref().unwrap().outcome());
    if !is_fresh {
        finish(fresh);
    }
    if told == Outcome::Denied {
        assert!(backend.decide_now(&key).is_none(), "{turns:b}");
        let answers = finish(backend.decide(&checks, Join::Each));
        assert!(answers[0].as_ref().unwrap().is_allowed(), "{turns:b}");
    }
}

#[test]
fn no_denial_outlives_a_reset_that_it_passed() {
    for turns in 0..1 << 8 {
        passing(turns, false);
        passing(turns, true);
    }
}

#[test]
fn a_reset_that_nobody_waits_for_forgets_as_well() {
    let (backend, stats) = distant();
    let policy = policy();
    let key = check(&policy, b"k");
    let checks = [key];
    let mut reset = backend.reset(&checks);
    // It was done, but its answer is still under way.
    assert!(poll(&mut reset).is_pending());
    finish(backend.decide(&checks, Join::Each));
    assert!(backend.decide_now(&key).is_some());
    assert!(poll(&mut reset).is_pending());
    drop(reset);
    assert!(backend.decide_now(&key).is_none());
    assert_eq!(stats.entries(), 0);
}

#[test]
fn nothing_that_was_under_way_outlives_the_close() {
    let (backend, _) = distant();
    let policy = policy();
    let key = check(&policy, b"k");
    let checks = [key];
    let mut question = backend.decide(&checks, Join::Each);
    assert!(poll(&mut question).is_pending());
    finish(backend.close());
    finish(question);
    assert!(backend.decide_now(&key).is_none());
}

/// Threads ask and are denied while another makes the key fresh, again and again: as soon as that has
/// returned, nobody is told of a denial from before.
#[test]
fn threads_never_see_a_denial_from_before_a_reset() {
    let inner = Arc::new(Distant::default());
    let (backend, stats) = around(Arc::clone(&inner));
    let policy = policy();
    let key = check(&policy, b"k");
    let stop = AtomicBool::new(false);
    let ask = || {
        let answer = backend.decide_now(&key);
        answer.unwrap_or_else(|| finish(backend.decide(&[key], Join::Each)).remove(0))
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    ask().unwrap();
                }
            });
        }
        let stale = (0..5_000).find(|_| {
            finish(backend.reset(&[key])).unwrap();
            ask().unwrap();
            // One of the threads has used what is fresh by now, or this one has.
            inner.fresh.load(Ordering::SeqCst) > 0
        });
        stop.store(true, Ordering::SeqCst);
        assert_eq!(stale, None);
    });
    assert!(stats.hits() > 0);
}
