//! What happens when the backend fails, and in modes other than `enforce`.

use std::sync::atomic::{AtomicUsize, Ordering};

use ratelimit::{
    ErrorKind, OnError, Override, Registry, Rejection, aratelimit, ratelimit, testing,
};

use crate::backends::{Fault, Faulty};

#[ratelimit(name = "closed", rate = "2/h", on_error = "closed")]
fn closed() -> Result<(), Rejection> {
    Ok(())
}

#[ratelimit(name = "open", rate = "2/h", on_error = "open")]
fn open() -> Result<(), Rejection> {
    Ok(())
}

#[ratelimit(name = "local", rate = "2/h", on_error = "local")]
fn local() -> Result<(), Rejection> {
    Ok(())
}

#[ratelimit(name = "unsaid", rate = "2/h")]
fn unsaid() -> Result<(), Rejection> {
    Ok(())
}

#[aratelimit(name = "async local", rate = "2/h", on_error = "local")]
async fn async_local() -> Result<(), Rejection> {
    Ok(())
}

fn admitted(guarded: fn() -> Result<(), Rejection>) -> usize {
    (0..5).filter(|_| guarded().is_ok()).count()
}

#[test]
fn each_posture_answers_for_a_backend_that_fails() {
    for fault in [Fault::Fails, Fault::Babbles, Fault::Mumbles, Fault::Panics] {
        let backend = Faulty::new(fault);
        let builder = Registry::builder().backend("faulty", backend.clone());
        let _scope = testing::scope_with(|_| builder).unwrap();
        let rejection = closed().unwrap_err();
        let Rejection::Unavailable(error) = &rejection else {
            panic!("{rejection}")
        };
        assert_eq!(error.backend(), Some("faulty"));
        assert!(
            rejection
                .to_string()
                .starts_with("rate limiter unavailable: backend `faulty`: ")
        );
        assert_eq!(admitted(closed), 0, "{fault:?}");
        assert_eq!(admitted(open), 5, "{fault:?}");
        assert_eq!(admitted(local), 2, "{fault:?}");
        assert_eq!(admitted(unsaid), 0, "{fault:?}");
        assert_eq!(backend.asked(), 21, "it is asked each time");
    }
}

#[tokio::test]
async fn async_callers_get_the_same_postures() {
    let builder = Registry::builder().backend("faulty", Faulty::new(Fault::Fails));
    let _scope = testing::scope_with(|_| builder).unwrap();
    assert!(async_local().await.is_ok());
    assert!(async_local().await.is_ok());
    assert!(matches!(async_local().await, Err(Rejection::Limited(_))));
}

#[test]
fn the_registry_and_the_operator_have_their_say() {
    let builder = Registry::builder()
        .backend("faulty", Faulty::new(Fault::Fails))
        .on_error(OnError::Open)
        .override_policy("local", Override::new().on_error(OnError::Closed));
    let _scope = testing::scope_with(|_| builder).unwrap();
    assert_eq!(admitted(unsaid), 5, "the registry's posture");
    assert_eq!(admitted(local), 0, "the override's");
    assert_eq!(admitted(closed), 0, "the attribute's");
}

#[test]
fn what_is_wrong_with_the_program_is_never_let_through() {
    let builder = Registry::builder().backend("faulty", Faulty::new(Fault::Misconfigured));
    let _scope = testing::scope_with(|_| builder).unwrap();
    let rejection = open().unwrap_err();
    assert!(
        matches!(&rejection, Rejection::Unavailable(error) if error.kind() == ErrorKind::Configuration)
    );
}

#[test]
fn shadow_mode_decides_and_runs_all_the_same() {
    static RAN: AtomicUsize = AtomicUsize::new(0);

    #[ratelimit(name = "shadow", rate = "2/h", mode = "shadow", cost = cost)]
    fn shadow(cost: i32) -> Result<(), Rejection> {
        RAN.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    #[ratelimit(
        name = "shadow",
        rate = "2/h",
        mode = "shadow",
        cost = 1,
        on_error = "closed"
    )]
    fn of_the_same_budget() -> Result<(), Rejection> {
        Ok(())
    }

    let scope = testing::scope();
    for cost in [1, 1, 1, 3, -1, 0] {
        shadow(cost).unwrap();
    }
    assert_eq!(RAN.load(Ordering::SeqCst), 6);
    of_the_same_budget().unwrap();
    // It was charged as ever.
    let policy = ratelimit::Policy::new(
        "shadow",
        ratelimit::Algorithm::TokenBucket,
        ratelimit::rate!("2/h"),
    );
    let left = scope
        .registry()
        .peek_blocking(&ratelimit::Ask::unkeyed(&policy))
        .unwrap();
    assert_eq!(left.remaining(), 0);

    let builder = Registry::builder().backend("faulty", Faulty::new(Fault::Fails));
    let _scope = testing::scope_with(|_| builder).unwrap();
    shadow(1).unwrap();
}

#[test]
fn mode_off_asks_nobody() {
    #[ratelimit(name = "off", rate = "2/h", mode = "off")]
    fn off() -> Result<(), Rejection> {
        Ok(())
    }

    let backend = Faulty::new(Fault::Fails);
    let builder = Registry::builder().backend("faulty", backend.clone());
    let _scope = testing::scope_with(|_| builder).unwrap();
    assert_eq!(admitted(off), 5);
    assert_eq!(backend.asked(), 0);
}

#[test]
fn what_can_never_be_decided_is_never_let_through() {
    #[ratelimit(name = "dear", rate = "2/h", cost = cost, on_error = "open")]
    fn dear(cost: u32) -> Result<(), Rejection> {
        let _ = cost;
        Ok(())
    }

    let with = |fault| {
        let builder = Registry::builder().backend("faulty", Faulty::new(fault));
        testing::scope_with(|_| builder).unwrap()
    };
    let _scope = with(Fault::Incapable);
    assert!(matches!(open(), Err(Rejection::Unavailable(_))));
    let _scope = with(Fault::Unsatisfied);
    assert!(matches!(open(), Err(Rejection::Unsatisfiable { .. })));
    let _scope = with(Fault::Fails);
    assert!(dear(2).is_ok());
    assert!(matches!(
        dear(3),
        Err(Rejection::Unsatisfiable {
            cost: 3,
            capacity: 2,
            ..
        })
    ));
}
