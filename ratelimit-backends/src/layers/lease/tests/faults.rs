//! Stores that fail, callers that go away, clocks that step.

use super::*;

#[tokio::test]
async fn a_store_that_fails_is_an_error_for_those_who_need_it() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    for _ in 0..1_000 {
        ask(&process, check(&policy)).await;
        settle().await;
    }
    scene.store.fails.store(true, Ordering::SeqCst);
    let mut spent = 0;
    while process.decide_now(&check(&policy)).is_some() {
        settle().await;
        spent += 1;
    }
    assert!(spent > 50, "what is held can be spent");
    let waiters = (0..20).map(|_| {
        let (process, policy) = (Arc::clone(&process), policy.clone());
        tokio::spawn(async move { process.decide(&[check(&policy)], Join::Each).await })
    });
    let waiters: Vec<_> = waiters.collect();
    for waiter in waiters {
        let answers = waiter.await.unwrap();
        let error = answers[0].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
    }
    scene.store.fails.store(false, Ordering::SeqCst);
    assert!(ask(&process, check(&policy)).await.is_allowed());
    settle().await;
    assert!(process.decide_now(&check(&policy)).is_some());
}

#[tokio::test]
async fn what_cannot_be_given_back_is_lost() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    scene.store.fails.store(true, Ordering::SeqCst);
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(stats.returned(), 0);
    assert!(stats.lost() > 0);
    assert_eq!(scene.clock.sleepers(), 0);
}

/// Whoever asks for the others may go away; they are answered all the same.
#[tokio::test]
async fn callers_may_go_away() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    for _ in 0..10 {
        ask(&process, check(&policy)).await;
    }
    scene.clock.advance(LIFE);
    settle().await;
    for gone in 0..8 {
        Store::shut(&scene.store.gate);
        let waiters = (0..8).map(|_| {
            let (process, policy) = (Arc::clone(&process), policy.clone());
            tokio::spawn(async move { ask(&process, check(&policy).with_cost(90_000)).await })
        });
        let waiters: Vec<_> = waiters.collect();
        settle().await;
        waiters[gone].abort();
        settle().await;
        scene.store.gate.add_permits(1_000);
        for (place, waiter) in waiters.into_iter().enumerate() {
            let answer = tokio::time::timeout(Duration::from_secs(10), waiter).await;
            assert_eq!(answer.unwrap().is_ok(), place != gone);
        }
        process.reset(&[check(&policy)]).await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_lets_nothing_be_spent_for_longer() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    scene.clock.advance(LIFE / 2);
    warm(&process, check(&policy)).await;
    scene.clock.step_back(Duration::from_nanos(1));
    assert!(process.decide_now(&check(&policy)).is_none());
    scene.clock.advance(Duration::from_nanos(1));
    assert!(process.decide_now(&check(&policy)).is_some());
}

#[tokio::test]
async fn what_comes_when_its_life_is_over_is_not_held() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let admitted = warm(&process, check(&policy)).await;
    scene.clock.advance(LIFE);
    settle().await;
    scene.store.back();
    Store::shut(&scene.store.answers);
    let waiter = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move { ask(&process, check(&policy)).await }
    });
    settle().await;
    scene.clock.advance(LIFE);
    scene.store.answers.add_permits(1_000);
    assert!(
        waiter.await.unwrap().is_allowed(),
        "it was charged for this call"
    );
    settle().await;
    assert!(process.decide_now(&check(&policy)).is_none());
    let remaining = scene.store.remaining(check(&policy)).await;
    assert_eq!(remaining, 1_000 - admitted - 1);
}

/// A runtime that ends takes with it who would have given back, not who comes after.
#[test]
fn another_runtime_goes_on() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    for _ in 0..3 {
        runtime().block_on(warm(&process, check(&policy)));
        // Nobody is left there to give anything back.
        scene.clock.advance(LIFE);
    }
    runtime().block_on(async {
        warm(&process, check(&policy)).await;
        scene.clock.advance(LIFE);
        settle().await;
        assert!(!scene.store.back().is_empty());
        assert_eq!(scene.clock.sleepers(), 0);
    });
}

/// Outside of any runtime nothing is held, as nobody could give it back.
#[test]
fn without_a_runtime_nothing_is_held() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let policy = bucket("1000/h");
    let checks = [check(&policy)];
    for _ in 0..50 {
        let mut asked = process.decide(&checks, Join::Each);
        let waker = core::task::Waker::noop();
        let polled = asked
            .as_mut()
            .poll(&mut core::task::Context::from_waker(waker));
        let core::task::Poll::Ready(answers) = polled else {
            panic!("nobody has to be waited for");
        };
        assert!(answers[0].as_ref().unwrap().is_allowed());
    }
    assert_eq!(stats.hits(), 0);
    assert_eq!(stats.taken(), stats.trips());
}

/// A runtime may end before what is spawned there begins.
#[test]
fn a_watch_that_never_began_is_not_kept() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    runtime().block_on(async {
        while process.decide_now(&check(&policy)).is_none() {
            ask(&process, check(&policy)).await;
        }
    });
    scene.clock.advance(LIFE);
    runtime().block_on(async {
        warm(&process, check(&policy)).await;
        scene.clock.advance(LIFE);
        settle().await;
        assert!(!scene.store.back().is_empty());
    });
}

/// A clock whose time goes on like the process's, and that steps.
#[derive(Clone, Debug)]
struct Stepping(ratelimit_core::ManualClock);

impl Clock for Stepping {
    fn now(&self) -> ratelimit_core::Timestamp {
        self.0.now()
    }
}

/// In real time.
#[tokio::test]
async fn after_a_step_back_what_is_left_is_given_back_all_the_same() {
    let scene = Scene::new();
    let clock = Stepping(scene.clock.clone());
    let life = Duration::from_millis(20);
    let inner = Arc::clone(&scene.store) as Arc<dyn Backend>;
    let process = Lease::new().life(life).clock(clock).layer(inner).unwrap();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    scene.clock.step_back(Duration::from_hours(1));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!scene.store.back().is_empty());
}

/// What was fetched for a caller and for others is not lost with it.
#[tokio::test]
async fn a_caller_that_goes_away_takes_no_slice_with_it() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let admitted = warm(&process, check(&policy)).await;
    scene.clock.advance(LIFE);
    settle().await;
    Store::shut(&scene.store.answers);
    let waiter = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move { ask(&process, check(&policy)).await }
    });
    settle().await;
    assert!(scene.store.calls().last().unwrap()[0] > 1, "a slice");
    waiter.abort();
    settle().await;
    scene.store.answers.add_permits(1_000);
    settle().await;
    scene.clock.advance(LIFE);
    settle().await;
    // It may have been told.
    assert_eq!(
        scene.store.remaining(check(&policy)).await,
        1_000 - admitted - 1
    );
}

/// Whoever asks for the others may stop to listen.
#[tokio::test]
async fn a_caller_that_does_not_go_on_holds_nobody_up() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    warm(&process, check(&policy)).await;
    scene.clock.advance(LIFE);
    settle().await;
    Store::shut(&scene.store.gate);
    let checks = [check(&policy)];
    let mut idle = process.decide(&checks, Join::Each);
    let mut nobody = core::task::Context::from_waker(core::task::Waker::noop());
    assert!(idle.as_mut().poll(&mut nobody).is_pending());
    settle().await;
    scene.store.gate.add_permits(1_000);
    let other = tokio::time::timeout(Duration::from_secs(2), ask(&process, check(&policy)));
    assert!(other.await.is_ok());
    assert!(idle.await[0].is_ok());
}

/// A runtime that nobody drives any longer, and that has not ended. In real time.
#[test]
fn a_runtime_that_stands_still_holds_nobody_up_for_good() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (idle, busy) = (runtime(), runtime());
    idle.block_on(async {
        warm(&process, check(&policy)).await;
        // More is being fetched.
        Store::shut(&scene.store.gate);
        while process.decide_now(&check(&policy)).is_some() {}
        settle().await;
    });
    scene.store.gate.add_permits(1_000);
    busy.block_on(async {
        let checks = [check(&policy)];
        let asked = process.decide(&checks, Join::Each);
        let answers = tokio::time::timeout(Duration::from_secs(15), asked).await;
        let error = answers.unwrap().remove(0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    });
    idle.block_on(settle());
    busy.block_on(async { assert!(ask(&process, check(&policy)).await.is_allowed()) });
}
