//! Keys that are made fresh, charges that are given back, limits that change, and what a peek sees of it.

use super::*;

#[tokio::test]
async fn a_reset_makes_void_what_is_held_and_what_is_under_way() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    process.reset(&[check(&policy)]).await.unwrap();
    assert!(process.decide_now(&check(&policy)).is_none());
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000);

    // The store has charged a slice, and is then made fresh before that is heard.
    Store::shut(&scene.store.answers);
    let waiter = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move { ask(&process, check(&policy)).await }
    });
    settle().await;
    assert!(scene.store.calls().last().unwrap()[0] > 1, "a slice");
    process.reset(&[check(&policy)]).await.unwrap();
    scene.store.answers.add_permits(1_000);
    assert!(waiter.await.unwrap().is_allowed());
    assert!(process.decide_now(&check(&policy)).is_none());
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(
        scene.store.back(),
        [],
        "it is not given back to what is fresh"
    );
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000);
}

#[tokio::test]
async fn what_comes_while_a_reset_is_under_way_is_void_as_well() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    Store::shut(&scene.store.resets);
    let resetting = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move { process.reset(&[check(&policy)]).await }
    });
    settle().await;
    // The store has not made it fresh yet.
    assert!(ask(&process, check(&policy)).await.is_allowed());
    settle().await;
    assert!(process.decide_now(&check(&policy)).is_some());
    scene.store.resets.add_permits(1);
    resetting.await.unwrap().unwrap();
    assert!(process.decide_now(&check(&policy)).is_none());
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000);
}

#[tokio::test]
async fn what_was_charged_under_other_limits_is_not_spent() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let (one, other) = (bucket("1000/h"), bucket("500/h"));
    warm(&process, check(&one)).await;
    scene.store.calls();
    let under = |limits| Check::new(&one, limits, KeyRef::from_bytes(b"k"));
    assert!(process.decide_now(&under(other.limits())).is_none());
    for _ in 0..20 {
        ask(&process, under(other.limits())).await;
    }
    assert_eq!(scene.store.calls(), vec![vec![1]; 20], "one by one");
    assert!(process.decide_now(&under(one.limits())).is_some());
    // When nothing is held any more, the key's slices are of the other limits.
    settle().await;
    scene.clock.advance(LIFE);
    settle().await;
    warm(&process, under(other.limits())).await;
    assert!(process.decide_now(&under(one.limits())).is_none());
}

#[tokio::test]
async fn a_refund_goes_to_the_slice_while_it_is_held_and_then_to_the_store() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    let remaining = ask(&process, check(&policy)).await;
    let adjusts = [Adjust::refund(check(&policy), remaining.charge().clone())];
    let told = process.adjust(&adjusts).await.remove(0).unwrap();
    assert_eq!(told.remaining(), remaining.remaining() + 1);
    assert_eq!(told.charge().cost(), 0);
    assert_eq!(scene.store.back(), []);
    // It goes where it was charged, and nowhere else.
    for _ in 0..3 {
        process.decide_now(&check(&policy));
    }
    let (elsewhere, key) = (bucket("1000/h"), check(&policy));
    let direct = scene
        .store
        .memory
        .decide(&[key.with_cost(2)], Join::Each)
        .await;
    let charge = direct[0].as_ref().unwrap().charge().clone();
    process
        .adjust(&[Adjust::refund(check(&elsewhere), charge)])
        .await;
    assert_eq!(scene.store.back(), [-2]);
    // More is not taken back than was charged.
    let more = [Adjust::refund(
        check(&policy),
        remaining.charge().clone().with_cost(500),
    )];
    process.adjust(&more).await.remove(0).unwrap();
    assert_eq!(scene.store.back(), [-500], "no such charge is known here");

    let scene = Scene::new();
    let (process, _) = scene.process();
    warm(&process, check(&policy)).await;
    let spent = ask(&process, check(&policy)).await;
    settle().await;
    scene.clock.advance(LIFE);
    settle().await;
    scene.store.back();
    let before = scene.store.remaining(check(&policy)).await;
    let adjusts = [Adjust::refund(check(&policy), spent.charge().clone())];
    process.adjust(&adjusts).await.remove(0).unwrap();
    assert_eq!(scene.store.back(), [-1]);
    assert_eq!(scene.store.remaining(check(&policy)).await, before + 1);
    // More is charged where the budget is.
    let adjusts = [Adjust::new(check(&policy), spent.charge().clone(), 7)];
    let told = process.adjust(&adjusts).await.remove(0).unwrap();
    assert_eq!(told.remaining(), before + 1 - 7);
    assert_eq!(scene.store.remaining(check(&policy)).await, before + 1 - 7);
}

#[tokio::test]
async fn a_peek_sees_what_is_held() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let admitted = warm(&process, check(&policy)).await;
    let peek = async |cost| {
        let answers = process.peek(&[check(&policy).with_cost(cost)]).await;
        answers[0].clone().unwrap()
    };
    assert_eq!(peek(0).await.remaining(), 100 - admitted);
    // Somebody else takes all that the store has.
    let rest = scene.store.remaining(check(&policy)).await;
    scene
        .store
        .decide(&[check(&policy).with_cost(rest)], Join::Each)
        .await;
    let seen = peek(1).await;
    assert!(seen.is_allowed());
    assert!(seen.remaining() > 0);
    assert!(!peek(50).await.is_allowed());
}

#[tokio::test]
async fn not_more_is_taken_back_than_may_be_held() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    process.reset(&[check(&policy)]).await.unwrap();
    Store::shut(&scene.store.gate);
    let waiters = (0..8).map(|_| {
        let (process, policy) = (Arc::clone(&process), policy.clone());
        tokio::spawn(async move { ask(&process, check(&policy).with_cost(90)).await })
    });
    let waiters: Vec<_> = waiters.collect();
    settle().await;
    scene.store.gate.add_permits(1_000);
    let mut spent = Vec::new();
    for waiter in waiters {
        spent.push(waiter.await.unwrap());
    }
    settle().await;
    for decision in &spent {
        let adjusts = [Adjust::refund(
            check(&policy).with_cost(90),
            decision.charge().clone(),
        )];
        process.adjust(&adjusts).await.remove(0).unwrap();
    }
    // At most a tenth is held.
    assert!(scene.store.remaining(check(&policy)).await >= 900);
}

fn key(policy: &Policy, key: &'static [u8]) -> Check<'static> {
    let policy: &'static Policy = Box::leak(Box::new(policy.clone()));
    Check::new(policy, policy.limits(), KeyRef::from_bytes(key))
}

/// Holds something of each of these keys, for which there is room for one.
async fn crowd(process: &Arc<dyn Backend>, policy: &Policy) -> Vec<(Check<'static>, u32)> {
    let mut all = Vec::new();
    for name in [b"a", b"b", b"c", b"d"] {
        let check = key(policy, name);
        all.push((check, warm(process, check).await));
    }
    all
}

#[tokio::test]
async fn what_is_held_of_a_key_that_was_pushed_out_is_void_after_a_reset() {
    let scene = Scene::new();
    let (process, _) = scene.process_with(Lease::new().max_keys(1));
    let policy = policy(Algorithm::FixedWindow, "1000/h");
    let all = crowd(&process, &policy).await;
    scene.store.back();
    for (check, _) in &all {
        process.reset(&[*check]).await.unwrap();
        let fifty = [check.with_cost(50)];
        let admitted = scene.store.memory.decide(&fifty, Join::Each).await;
        assert!(admitted[0].as_ref().unwrap().is_allowed());
    }
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(scene.store.back(), []);
    for (check, _) in &all {
        assert_eq!(scene.store.remaining(*check).await, 950);
    }
}

#[tokio::test]
async fn what_is_held_of_a_key_that_was_pushed_out_is_given_back_at_the_close() {
    let scene = Scene::new();
    let (process, _) = scene.process_with(Lease::new().max_keys(1));
    let policy = policy(Algorithm::FixedWindow, "1000/h");
    let all = crowd(&process, &policy).await;
    process.close().await;
    for (check, admitted) in &all {
        assert_eq!(scene.store.remaining(*check).await, 1_000 - admitted);
    }
}

#[tokio::test]
async fn the_checks_of_a_key_are_decided_in_order() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let admitted = warm(&process, check(&policy)).await;
    let all = 100 - admitted;
    let checks = [check(&policy).with_cost(all), check(&policy)];
    let answers = process.decide(&checks, Join::Each).await;
    let allowed = answers.iter().map(|it| it.as_ref().unwrap().is_allowed());
    assert_eq!(allowed.collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn so_are_those_of_a_key_that_is_found_to_be_hot() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let one = check(&policy);
    let checks = [one.with_cost(98), one, one, one, one];
    let answers = process.decide(&checks, Join::Each).await;
    let allowed = answers.iter().map(|it| it.as_ref().unwrap().is_allowed());
    assert_eq!(
        allowed.collect::<Vec<_>>(),
        [true, true, true, false, false]
    );
    assert_eq!(scene.store.calls(), [[98, 1, 1, 1, 1]]);
    // And so are those that only look.
    process.reset(&[one]).await.unwrap();
    let checks = [one.with_cost(50), one.with_cost(0)];
    let answers = process.decide(&checks, Join::Each).await;
    assert!(answers[1].as_ref().unwrap().remaining() <= 50);
}

#[tokio::test]
async fn what_is_left_of_before_a_reset_is_not_given_back_for_those_who_need_more() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let policy = policy(Algorithm::FixedWindow, "100/h");
    warm(&process, check(&policy)).await;
    process.reset(&[check(&policy)]).await.unwrap();
    scene.store.calls();
    Store::shut(&scene.store.answers);
    let waiter = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move {
            let sixty = check(&policy).with_cost(60);
            process.decide(&[sixty, sixty], Join::Each).await
        }
    });
    settle().await;
    assert_eq!(scene.store.calls(), [[100]]);
    process.reset(&[check(&policy)]).await.unwrap();
    let lost = stats.lost();
    scene.store.answers.add_permits(1_000);
    for answer in waiter.await.unwrap() {
        assert!(answer.unwrap().is_allowed());
    }
    assert_eq!(scene.store.back(), []);
    assert_eq!(stats.lost(), lost + 40);
    assert_eq!(scene.store.remaining(check(&policy)).await, 40);
}

#[tokio::test]
async fn what_was_under_way_when_the_limits_changed_is_void_after_a_reset() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let (one, other) = (bucket("1000/h"), bucket("500/h"));
    warm(&process, check(&one)).await;
    process.reset(&[check(&one)]).await.unwrap();
    Store::shut(&scene.store.answers);
    let waiters = [*one.limits(), *other.limits()].map(|limits| {
        let (process, one) = (Arc::clone(&process), one.clone());
        tokio::spawn(async move {
            let check = Check::new(&one, &limits, KeyRef::from_bytes(b"k"));
            process.decide(&[check], Join::Each).await
        })
    });
    settle().await;
    let calls = scene.store.calls();
    assert!(calls.len() > 1 && calls.concat().iter().any(|cost| *cost > 1));
    scene.store.answers.add_permits(1_000);
    for waiter in waiters {
        assert!(waiter.await.unwrap()[0].is_ok());
    }
    settle().await;
    process.reset(&[check(&one)]).await.unwrap();
    scene.store.back();
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(scene.store.back(), []);
}
