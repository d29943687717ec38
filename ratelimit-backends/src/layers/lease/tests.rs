//! One process with a lease, or several, around a store in memory that has to be waited for. How much is
//! admitted at most is in `bounds`, what fails or goes away in `faults`, resets, refunds and changes of limits
//! in `corrections`, what is on its way back meanwhile in `returns`.

mod bounds;
mod corrections;
mod faults;
mod returns;
mod scene;

use core::sync::atomic::Ordering;

use ratelimit_core::{Adjust, Check, Decision, Join, KeyRef, Policy, Source, Sweep, Swept};

use super::*;
use scene::{Bridged, Scene, Store};

const LIFE: Duration = Lease::DEFAULT_LIFE;

fn policy(algorithm: Algorithm, rates: &str) -> Policy {
    Policy::named("p".into(), algorithm, rates.parse().unwrap())
}

fn bucket(rates: &str) -> Policy {
    policy(Algorithm::TokenBucket, rates)
}

fn check(policy: &Policy) -> Check<'_> {
    Check::new(policy, policy.limits(), KeyRef::from_bytes(b"k"))
}

async fn ask(backend: &Arc<dyn Backend>, check: Check<'_>) -> Decision {
    if let Some(answer) = backend.decide_now(&check) {
        return answer.unwrap();
    }
    let mut answers = backend.decide(&[check], Join::Each).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0).unwrap()
}

/// Lets what was spawned go on.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Asks so often that several units are held, and says how many calls were admitted.
async fn warm(backend: &Arc<dyn Backend>, check: Check<'_>) -> u32 {
    const CALLS: u32 = 40;
    for _ in 0..CALLS {
        assert!(ask(backend, check).await.is_allowed());
        settle().await;
    }
    let answer = backend.decide_now(&check).expect("something is held");
    assert_eq!(answer.unwrap().source(), Source::Lease);
    CALLS + 1
}

#[tokio::test]
async fn what_is_asked_for_often_is_answered_from_memory() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::Gcra,
        Algorithm::FixedWindow,
    ] {
        let scene = Scene::new();
        let (process, stats) = scene.process();
        let policy = policy(algorithm, "100000/m, 50000/s");
        for call in 1..=10_000 {
            let decision = ask(&process, check(&policy)).await;
            assert!(decision.is_allowed());
            assert_eq!(decision.charge().cost(), 1);
            assert_eq!(decision.remaining(), 50_000 - call, "nobody else asks");
            settle().await;
        }
        assert!(scene.store.calls().len() < 100);
        assert!(stats.hits() > 9_900, "{stats:?}");
        assert_eq!(stats.hits() + stats.misses(), 10_000);
        assert_eq!(stats.keys(), 1);
    }
}

#[tokio::test]
async fn what_is_asked_for_seldom_or_has_a_small_limit_is_asked_by_itself() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let large = bucket("1000000/s");
    for _ in 0..100 {
        ask(&process, check(&large)).await;
        scene.clock.advance(LIFE / 2);
    }
    let small = policy(Algorithm::FixedWindow, "79/m");
    for call in 0..100 {
        assert_eq!(ask(&process, check(&small)).await.is_allowed(), call < 79);
    }
    let calls = scene.store.calls();
    assert_eq!(calls.len(), 200);
    assert!(calls.iter().all(|costs| costs == &[1]));
    assert_eq!((stats.hits(), stats.taken()), (0, 0));
}

#[tokio::test]
async fn what_is_left_is_given_back_when_its_life_is_over() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow] {
        let scene = Scene::new();
        let (process, stats) = scene.process();
        // Nothing is refilled in a slice's life.
        let policy = policy(algorithm, "1000/h");
        let admitted = warm(&process, check(&policy)).await;
        assert!(scene.store.remaining(check(&policy)).await < 1_000 - admitted);
        scene
            .clock
            .advance(LIFE.saturating_sub(Duration::from_nanos(1)));
        settle().await;
        assert_eq!(scene.store.back(), []);
        scene.clock.advance(Duration::from_nanos(1));
        settle().await;
        assert_eq!(
            scene.store.remaining(check(&policy)).await,
            1_000 - admitted
        );
        assert_eq!(scene.clock.sleepers(), 0, "nobody keeps watch any more");
        assert!(stats.returned() > 0);
        assert_eq!(stats.lost(), 0);
        assert!(process.decide_now(&check(&policy)).is_none());
    }
}

#[tokio::test]
async fn what_is_left_is_given_back_at_the_close_and_nothing_is_held_after() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let admitted = warm(&process, check(&policy)).await;
    Store::shut(&scene.store.gate);
    let waiter = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move { ask(&process, check(&policy).with_cost(50)).await }
    });
    settle().await;
    let closing = tokio::spawn({
        let process = Arc::clone(&process);
        async move { process.close().await }
    });
    settle().await;
    assert!(!closing.is_finished(), "somebody is being answered");
    scene.store.gate.add_permits(1_000);
    assert!(waiter.await.unwrap().is_allowed());
    closing.await.unwrap();
    let back: i64 = scene.store.back().iter().sum();
    let asked: u32 = scene.store.calls().iter().flatten().sum();
    assert_eq!(i64::from(asked) + back, i64::from(admitted) + 50);
    for _ in 0..100 {
        assert!(ask(&process, check(&policy)).await.is_allowed());
        settle().await;
        assert!(process.decide_now(&check(&policy)).is_none());
    }
}

#[tokio::test]
async fn a_slice_of_a_window_dies_with_it() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let policy = policy(Algorithm::FixedWindow, "1000/s");
    scene.clock.advance(Duration::from_millis(950));
    warm(&process, check(&policy)).await;
    // The store's clock is read in ticks of a nanosecond.
    scene
        .clock
        .advance(Duration::from_millis(50).saturating_sub(Duration::from_nanos(2)));
    assert!(process.decide_now(&check(&policy)).is_some());
    scene.clock.advance(Duration::from_nanos(1));
    assert!(process.decide_now(&check(&policy)).is_none());
    settle().await;
    assert!(stats.lost() > 0);
    assert_eq!(
        scene.store.back(),
        [],
        "there is nothing to give it back to"
    );
}

#[tokio::test]
async fn what_this_process_holds_is_no_reason_to_deny_it() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let admitted = warm(&process, check(&policy)).await;
    // All that there is, with what is held.
    let rest = check(&policy).with_cost(100 - admitted);
    assert!(ask(&process, rest).await.is_allowed());
    let denied = ask(&process, check(&policy)).await;
    assert!(!denied.is_allowed());
    assert_eq!(denied.source(), Source::Store);
    assert_eq!(scene.store.remaining(check(&policy)).await, 0);
}

#[tokio::test]
async fn nor_is_it_when_it_is_asked_for_seldom_by_now() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    warm(&process, check(&policy)).await;
    let half = LIFE / 2;
    scene.clock.advance(LIFE + half);
    settle().await;
    // The last slice is from the middle of a time of few calls.
    ask(&process, check(&policy)).await;
    settle().await;
    scene.clock.advance(half);
    ask(&process, check(&policy).with_cost(8)).await;
    settle().await;
    scene.clock.advance(half + half / 4);
    settle().await;
    let rest = scene.store.remaining(check(&policy)).await;
    let held = process.peek(&[check(&policy).with_cost(0)]).await;
    let all = held[0].as_ref().unwrap().remaining();
    assert!(all > rest, "{all} {rest}");
    assert!(
        ask(&process, check(&policy).with_cost(all))
            .await
            .is_allowed()
    );
}

#[tokio::test]
async fn more_is_fetched_ahead_by_one_request_while_nobody_waits() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    for _ in 0..2_000 {
        ask(&process, check(&policy)).await;
        settle().await;
    }
    scene.store.calls();
    Store::shut(&scene.store.gate);
    let mut spent = 0;
    while process.decide_now(&check(&policy)).is_some() {
        settle().await;
        spent += 1;
        let tasks = tokio::runtime::Handle::current().metrics();
        // One that fetches, one that gives back.
        assert!(tasks.num_alive_tasks() <= 2);
        assert!(
            scene.store.calls.lock().unwrap().len() <= 1,
            "one in flight"
        );
    }
    assert!(spent > 100, "{spent}");
    assert_eq!(scene.store.calls.lock().unwrap().len(), 1);
    scene.store.gate.add_permits(1_000);
    settle().await;
    assert!(
        process.decide_now(&check(&policy)).is_some(),
        "nobody has asked for it"
    );
}

#[tokio::test]
async fn those_who_wait_are_served_from_what_has_come_for_others() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    for _ in 0..500 {
        ask(&process, check(&policy)).await;
        settle().await;
    }
    process.reset(&[check(&policy)]).await.unwrap();
    settle().await;
    scene.store.calls();
    Store::shut(&scene.store.gate);
    let waiters = (0..20).map(|_| {
        let (process, policy) = (Arc::clone(&process), policy.clone());
        tokio::spawn(async move { ask(&process, check(&policy)).await })
    });
    let waiters: Vec<_> = waiters.collect();
    settle().await;
    scene.store.gate.add_permits(1_000);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().charge().cost(), 1);
    }
    assert_eq!(scene.store.calls(), [[131]]);
}

#[tokio::test]
async fn those_who_wait_may_need_more_than_there_can_be() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let asked = check(&policy).with_cost(15);
    for _ in 0..4 {
        ask(&process, asked).await;
    }
    process.reset(&[asked]).await.unwrap();
    Store::shut(&scene.store.gate);
    let waiters = (0..10).map(|_| {
        let (process, policy) = (Arc::clone(&process), policy.clone());
        tokio::spawn(async move { ask(&process, check(&policy).with_cost(15)).await })
    });
    let waiters: Vec<_> = waiters.collect();
    settle().await;
    scene.store.gate.add_permits(1_000);
    let mut admitted = 0;
    for waiter in waiters {
        admitted += u32::from(waiter.await.unwrap().is_allowed());
    }
    assert_eq!(admitted, 6);
}

#[tokio::test]
async fn what_was_not_charged_is_not_held() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    for source in [Source::Open, Source::Local, Source::Unlimited] {
        *scene.store.speaks_for.lock().unwrap() = Some(source);
        for _ in 0..50 {
            let decision = ask(&process, check(&policy)).await;
            assert_eq!((decision.is_allowed(), decision.source()), (true, source));
            settle().await;
            assert!(process.decide_now(&check(&policy)).is_none());
        }
    }
    // Nor is it given back, where it is not what somebody needs.
    let rest = scene.store.remaining(check(&policy)).await;
    let all = [check(&policy).with_cost(rest - 5)];
    scene.store.memory.decide(&all, Join::Each).await;
    for _ in 0..3 {
        ask(&process, check(&policy).with_cost(7)).await;
    }
    assert_eq!(scene.store.back(), []);
}

#[tokio::test]
async fn those_who_block_spend_from_the_same_slices() {
    let scene = Scene::new();
    let lease = Lease::new().clock(scene.clock.clone());
    let main = lease
        .layer(Arc::new(Bridged(Arc::clone(&scene.store))))
        .unwrap();
    let blocking = main.bridged().unwrap();
    let policy = bucket("1000000/h");
    warm(&blocking, check(&policy)).await;
    assert_eq!(
        main.decide_now(&check(&policy)).unwrap().unwrap().source(),
        Source::Lease
    );
    // A thread outside of any runtime has more fetched where threads that block are served.
    scene.store.calls();
    let spending = Arc::clone(&main);
    let spent = tokio::task::spawn_blocking(move || {
        let policy = bucket("1000000/h");
        std::thread::spawn(move || {
            let mut spent = 0;
            while spent < 20_000 {
                spent += u32::from(spending.decide_now(&check(&policy)).is_some());
                std::thread::yield_now();
            }
            spent
        })
        .join()
    });
    assert_eq!(spent.await.unwrap().unwrap(), 20_000);
    assert!(!scene.store.calls().is_empty());
}

#[tokio::test]
async fn other_questions_are_passed_on() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let checks = [check(&policy), check(&policy)];
    let answers = process.decide(&checks, Join::All).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().is_allowed())
    );
    let free = ask(&process, check(&policy).with_cost(0)).await;
    assert_eq!(free.remaining(), 98);
    let never = process
        .decide(&[check(&policy).with_cost(101)], Join::Each)
        .await;
    assert_eq!(
        never[0].as_ref().unwrap_err().kind(),
        ErrorKind::Unsatisfiable
    );
    assert_eq!(process.ping().await.unwrap().keys, Some(1));
    assert_eq!(process.sweep(Sweep::new()).await.unwrap(), Swept::new(0, 1));
    assert!(process.decide(&[], Join::Each).await.is_empty());
    assert!(process.bridged().is_none());
}

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let (hot, cold) = (bucket("1000/h"), policy(Algorithm::FixedWindow, "5/h"));
    warm(&process, check(&hot)).await;
    for _ in 0..30 {
        let mut checks = vec![check(&hot); 20];
        checks.insert(10, check(&cold));
        checks.push(check(&hot).with_cost(1_001));
        let answers = process.decide(&checks, Join::Each).await;
        assert_eq!(answers.len(), 22);
        for (place, answer) in answers.into_iter().enumerate() {
            match place {
                21 => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsatisfiable),
                10 => assert_eq!(answer.unwrap().limit(), 5),
                _ => assert_eq!(answer.unwrap().limit(), 1_000),
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let scene = Scene::new();
    let layer = |lease: Lease| {
        let inner = Arc::clone(&scene.store) as Arc<dyn Backend>;
        lease.layer(inner).map(drop).unwrap_err().to_string()
    };
    let faults = [
        (Lease::new().life(Duration::ZERO), "a `life` of 0ns"),
        (
            Lease::new().life(Duration::from_secs(11)),
            "a `life` of 11s",
        ),
        (Lease::new().max_share(0.0), "a `max_share` of 0 "),
        (Lease::new().max_share(1.5), "a `max_share` of 1.5"),
        (Lease::new().max_share(f64::NAN), "a `max_share` of NaN"),
        (Lease::new().max_keys(0), "`max_keys` of 0"),
    ];
    for (lease, expected) in faults {
        let found = layer(lease);
        assert!(found.contains(expected), "{found}");
    }
    let mut store = Store::new(&scene.clock);
    let capabilities = &mut Arc::get_mut(&mut store).unwrap().capabilities;
    capabilities.refund = AlgorithmSet::EMPTY.with(Algorithm::LeakyBucket);
    let found = Lease::new().layer(store).map(drop).unwrap_err().to_string();
    assert!(found.contains("takes charges back"), "{found}");
    let timeout = crate::layers::Timeout::default();
    let once = timeout.layer(scene.process().0).unwrap();
    let found = Lease::new().layer(once).map(drop).unwrap_err().to_string();
    assert!(
        found.contains("a lease around this backend already"),
        "{found}"
    );
}

#[tokio::test]
async fn algorithms_that_cannot_be_leased_are_refused() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    assert_eq!(process.capabilities().algorithms, LEASED);
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "5/s");
        let answers = process.decide(&[check(&policy)], Join::Each).await;
        assert_eq!(answers[0].is_ok(), LEASED.contains(algorithm));
        assert!(process.decide_now(&check(&policy)).is_none());
    }
}
