//! Units on their way back to the store, and what must not overtake them.

use tokio::task::JoinHandle;

use super::*;

fn resets(process: &Arc<dyn Backend>, policy: &Policy) -> JoinHandle<()> {
    let (process, policy) = (Arc::clone(process), policy.clone());
    tokio::spawn(async move { process.reset(&[check(&policy)]).await.unwrap() })
}

async fn closes_after_what_goes_back(scene: &Scene, process: &Arc<dyn Backend>) {
    let process = Arc::clone(process);
    let closing = tokio::spawn(async move { process.close().await });
    settle().await;
    assert!(!scene.store.closed.load(Ordering::SeqCst));
    scene.store.returns.add_permits(1_000);
    closing.await.unwrap();
    assert!(scene.store.closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_close_does_not_overtake_what_is_over() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let admitted = warm(&process, check(&policy)).await;
    Store::shut(&scene.store.returns);
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(scene.store.back().len(), 1);
    closes_after_what_goes_back(&scene, &process).await;
    assert_eq!(
        scene.store.remaining(check(&policy)).await,
        1_000 - admitted
    );
}

#[tokio::test]
async fn a_close_does_not_overtake_what_was_too_much() {
    let scene = Scene::new();
    let lease = Lease::new().clock(scene.clock.clone());
    let main = lease
        .layer(Arc::new(Bridged(Arc::clone(&scene.store))))
        .unwrap();
    let blocking = main.bridged().unwrap();
    let policy = bucket("1000/h");
    for _ in 0..500 {
        ask(&main, check(&policy)).await;
        settle().await;
    }
    main.reset(&[check(&policy)]).await.unwrap();
    Store::shut(&scene.store.gate);
    let waiters = [main.clone(), blocking].map(|process| {
        let policy = policy.clone();
        tokio::spawn(async move { process.decide(&[check(&policy)], Join::Each).await })
    });
    settle().await;
    Store::shut(&scene.store.returns);
    scene.store.gate.add_permits(1_000);
    for waiter in waiters {
        assert!(waiter.await.unwrap()[0].is_ok());
    }
    settle().await;
    assert_eq!(scene.store.back().len(), 1, "the excess");
    closes_after_what_goes_back(&scene, &main).await;
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000 - 2);
}

#[tokio::test]
async fn a_reset_does_not_overtake_what_goes_back() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    Store::shut(&scene.store.returns);
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(scene.store.back().len(), 1);
    let resetting = resets(&process, &policy);
    settle().await;
    // Nobody has made it fresh so far.
    assert!(scene.store.remaining(check(&policy)).await < 1_000);
    scene.store.returns.add_permits(1_000);
    resetting.await.unwrap();
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000);
}

#[tokio::test]
async fn nothing_goes_back_while_a_reset_is_under_way() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    Store::shut(&scene.store.resets);
    let resetting = resets(&process, &policy);
    settle().await;
    ask(&process, check(&policy)).await;
    settle().await;
    assert!(process.decide_now(&check(&policy)).is_some());
    let lost = stats.lost();
    // The store may have done it already.
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(scene.store.back(), []);
    assert!(stats.lost() > lost);
    scene.store.resets.add_permits(1);
    resetting.await.unwrap();
    // Afterwards it does.
    warm(&process, check(&policy)).await;
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(scene.store.back().len(), 1);
}
