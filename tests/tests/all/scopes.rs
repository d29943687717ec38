//! Test scopes: who sees them.

use std::time::Duration;

use ratelimit::{
    MemoryBackend, Override, Registry, Rejection, aratelimit, rate, ratelimit, testing,
};

#[ratelimit(name = "scoped", rate = "1/h", backend = "wherever")]
fn guarded() -> Result<(), Rejection> {
    Ok(())
}

#[aratelimit(name = "scoped async", rate = "1/h")]
async fn guarded_async() -> Result<(), Rejection> {
    tokio::task::yield_now().await;
    Ok(())
}

#[test]
fn scopes_nest_and_end() {
    let outer = testing::scope();
    assert!(guarded().is_ok() && guarded().is_err());
    {
        let inner = testing::scope();
        assert!(guarded().is_ok() && guarded().is_err());
        inner.clock().advance(Duration::from_hours(1));
        assert!(guarded().is_ok());
    }
    assert!(guarded().is_err());
    outer.clock().advance(Duration::from_hours(1));
    assert!(guarded().is_ok());
    drop(outer);
    // Without a scope and without an installed registry, a named backend is not there.
    assert!(matches!(guarded(), Err(Rejection::Unavailable(_))));
}

#[test]
fn a_scope_that_is_dropped_out_of_order_takes_only_itself_away() {
    let first = testing::scope();
    let second = testing::scope();
    drop(first);
    assert!(guarded().is_ok() && guarded().is_err());
    drop(second);
    assert!(matches!(guarded(), Err(Rejection::Unavailable(_))));
}

#[test]
fn threads_see_a_scope_that_they_are_given() {
    let scope = testing::scope();
    assert!(guarded().is_ok());
    let handle = scope.handle();
    let (with, without) = std::thread::spawn(move || (handle.run(guarded), guarded()))
        .join()
        .unwrap();
    assert!(matches!(with, Err(Rejection::Limited(_))));
    assert!(matches!(without, Err(Rejection::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapped_future_sees_its_scope_and_leaves_none_behind() {
    let scope = testing::scope();
    assert!(
        tokio::spawn(scope.wrap(guarded_async()))
            .await
            .unwrap()
            .is_ok()
    );
    assert!(
        tokio::spawn(scope.wrap(guarded_async()))
            .await
            .unwrap()
            .is_err()
    );
    let unscoped = tokio::spawn(async { guarded() });
    assert!(matches!(
        unscoped.await.unwrap(),
        Err(Rejection::Unavailable(_))
    ));
}

#[test]
fn a_scope_may_have_backends_and_overrides() {
    let scope = testing::scope_with(|_| {
        Registry::builder()
            .backend("wherever", MemoryBackend::new())
            .override_policy("scoped", Override::new().limits(rate!("3/h")))
    })
    .unwrap();
    assert_eq!((0..9).filter(|_| guarded().is_ok()).count(), 3);
    assert_eq!(
        scope.registry().backends().collect::<Vec<_>>(),
        ["wherever"]
    );
    let wrong = testing::scope_with(|_| Registry::builder().default_backend("nowhere"));
    assert!(wrong.is_err());
}

#[test]
fn a_scope_that_is_entered_again_gives_way_to_the_one_before() {
    let outer = testing::scope();
    let _inner = testing::scope();
    assert!(outer.handle().run(guarded).is_ok());
    assert!(outer.handle().run(guarded).is_err());
    assert!(guarded().is_ok() && guarded().is_err());
}
