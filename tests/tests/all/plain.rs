//! The plain API does what the attribute does.

use std::time::Duration;

use ratelimit::{
    Algorithm, Ask, Builder, Limits, ManualClock, MemoryBackend, Mode, OnError, Override, Policy,
    Registry, Rejection, Source, rate,
};

use crate::backends::{Delaying, Fault, Faulty};

static LOGIN: Policy = Policy::new("login", Algorithm::FixedWindow, rate!("3/m"));
static EXPORT: Policy = Policy::new("export", Algorithm::TokenBucket, rate!("10/h"));

fn builder() -> (Builder, ManualClock) {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder().clock(clock.clone()).build();
    let builder = Registry::builder()
        .backend("memory", backend)
        .policy(LOGIN.clone())
        .policy(EXPORT.clone());
    (builder, clock)
}

fn registry() -> (Registry, ManualClock) {
    let (builder, clock) = builder();
    (builder.build().unwrap(), clock)
}

#[tokio::test]
async fn check_and_its_blocking_form_share_one_budget() {
    let (registry, clock) = registry();
    assert_eq!(registry.check(&LOGIN, "ada").await.unwrap().remaining(), 2);
    assert_eq!(
        registry.check_blocking(&LOGIN, "ada").unwrap().remaining(),
        1
    );
    assert_eq!(
        registry
            .check(&LOGIN, &String::from("ada"))
            .await
            .unwrap()
            .remaining(),
        0
    );
    let rejection = registry.check(&LOGIN, "ada").await.unwrap_err();
    assert_eq!(rejection.retry_after(), Some(Duration::from_mins(1)));
    assert!(registry.check(&LOGIN, &7).await.is_ok());
    clock.advance(Duration::from_mins(1));
    assert!(registry.check(&LOGIN, "ada").await.is_ok());
}

#[tokio::test]
async fn many_are_independent_and_in_order() {
    let (registry, _clock) = registry();
    let asks = [
        Ask::new(&LOGIN, "a").cost(2),
        Ask::new(&EXPORT, "a").cost(11),
        Ask::new(&LOGIN, "a").cost(2),
        Ask::new(&LOGIN, "b").cost(0),
        Ask::new(&LOGIN, "a"),
        Ask::new(&LOGIN, "b").backend("nowhere"),
    ];
    let answers = registry.check_many(&asks).await;
    assert_eq!(answers[0].as_ref().unwrap().remaining(), 1);
    assert!(matches!(
        answers[1],
        Err(Rejection::Unsatisfiable {
            cost: 11,
            capacity: 10,
            ..
        })
    ));
    assert!(matches!(answers[2], Err(Rejection::Limited(_))));
    assert_eq!(answers[3].as_ref().unwrap().source(), Source::Unlimited);
    assert_eq!(answers[4].as_ref().unwrap().remaining(), 0);
    assert!(matches!(answers[5], Err(Rejection::Unavailable(_))));
    assert!(registry.check_many(&[]).await.is_empty());
}

#[tokio::test]
async fn all_or_nothing_is_charged() {
    let (registry, _clock) = registry();
    let asks = [Ask::new(&LOGIN, "ip"), Ask::new(&EXPORT, "account").cost(5)];
    assert_eq!(registry.check_all(&asks).await.unwrap().len(), 2);
    assert_eq!(registry.check_all(&asks).await.unwrap()[1].remaining(), 0);
    let Err(Rejection::Limited(decision)) = registry.check_all(&asks).await else {
        panic!("the account has nothing left")
    };
    assert_eq!((decision.limit(), decision.remaining()), (10, 0));
    assert_eq!(decision.retry_after(), Duration::from_mins(30));
    assert_eq!(
        registry.peek(&asks[0]).await.unwrap().remaining(),
        1,
        "it was not charged"
    );
    let never = [Ask::new(&LOGIN, "ip"), Ask::new(&EXPORT, "other").cost(11)];
    assert!(matches!(
        registry.check_all(&never).await,
        Err(Rejection::Unsatisfiable { .. })
    ));
    assert_eq!(registry.peek(&asks[0]).await.unwrap().remaining(), 1);
    assert!(registry.check_all(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_backends_cannot_make_one_decision() {
    let (builder, _clock) = builder();
    let registry = builder
        .backend("other", MemoryBackend::new())
        .default_backend("memory")
        .build()
        .unwrap();
    let asks = [
        Ask::new(&LOGIN, "a"),
        Ask::new(&LOGIN, "a").backend("other"),
    ];
    let message = registry.check_all(&asks).await.unwrap_err().to_string();
    assert!(
        message.contains("`memory` and `other` cannot make one decision"),
        "{message}"
    );
    assert_eq!(registry.peek(&asks[0]).await.unwrap().remaining(), 3);
}

#[tokio::test]
async fn a_shadow_policy_never_stands_in_the_way() {
    let (builder, _clock) = builder();
    let registry = builder
        .override_policy("login", Override::new().mode(Mode::Shadow))
        .build()
        .unwrap();
    let asks = [Ask::new(&LOGIN, "ip"), Ask::new(&EXPORT, "account")];
    for _ in 0..5 {
        registry.check_all(&asks).await.unwrap();
    }
    assert_eq!(registry.peek(&asks[0]).await.unwrap().remaining(), 0);
    assert_eq!(registry.peek(&asks[1]).await.unwrap().remaining(), 5);
}

#[tokio::test]
async fn charges_are_given_back_and_corrected() {
    let (registry, clock) = registry();
    for policy in [&LOGIN, &EXPORT] {
        let ask = Ask::new(policy, "a").cost(2);
        let capacity = policy.limits().capacity(policy.algorithm());
        let decision = registry.ask(&ask).await.unwrap();
        assert_eq!(registry.peek(&ask).await.unwrap().remaining(), capacity - 2);
        registry.refund(&ask, &decision).await.unwrap();
        assert_eq!(registry.peek(&ask).await.unwrap().remaining(), capacity);
        let decision = registry.ask(&ask).await.unwrap();
        let settled = registry.adjust(&ask, &decision, -1).await.unwrap();
        assert_eq!(
            (settled.charge().cost(), settled.remaining()),
            (1, capacity - 1)
        );
        let settled = registry.adjust(&ask, &settled, 100).await.unwrap();
        assert_eq!(
            (settled.charge().cost(), settled.remaining()),
            (capacity, 0)
        );
        // An expired charge gives back nothing.
        clock.advance(Duration::from_hours(2));
        let again = registry.ask(&ask.clone().cost(capacity)).await.unwrap();
        registry.refund(&ask, &decision).await.unwrap();
        assert_eq!(registry.peek(&ask).await.unwrap().remaining(), 0);
        registry.refund(&ask, &again).await.unwrap();
        registry.reset(&ask).await.unwrap();
    }
}

#[tokio::test]
async fn overrides_hold_for_the_plain_api_too() {
    let (builder, _clock) = builder();
    let registry = builder
        .override_policy("login", Override::new().limits(rate!("1/m")))
        .override_policy("export", Override::new().burst(2))
        .build()
        .unwrap();
    assert!(registry.check(&LOGIN, "a").await.is_ok());
    assert!(registry.check(&LOGIN, "a").await.is_err());
    assert_eq!(registry.check(&EXPORT, "a").await.unwrap().remaining(), 1);
    let bring: Limits = "100/s".parse().unwrap();
    let ask = Ask::new(&LOGIN, "b").limits(bring);
    assert!(registry.ask(&ask).await.is_ok());
    assert!(
        registry.ask(&ask).await.is_err(),
        "an override wins over what a call brings"
    );
}

#[tokio::test]
async fn a_call_may_bring_its_limits() {
    let (registry, _clock) = registry();
    let ask = Ask::new(&LOGIN, "a").limits(rate!("5/m"));
    for left in (0..5).rev() {
        assert_eq!(registry.ask(&ask).await.unwrap().remaining(), left);
    }
    assert_eq!(registry.peek(&ask).await.unwrap().remaining(), 0);
    let long: Limits = "10001/h".parse().unwrap();
    let policy = Policy::new("log", Algorithm::SlidingWindow, rate!("1/h"));
    let rejection = registry
        .ask(&Ask::new(&policy, "a").limits(long))
        .await
        .unwrap_err();
    assert!(
        rejection
            .to_string()
            .contains("use `sliding_window_counter`"),
        "{rejection}"
    );
}

#[test]
fn policies_are_listed() {
    let (registry, _clock) = registry();
    let policies = registry.policies();
    let login = policies
        .iter()
        .find(|policy| policy.name == "login")
        .unwrap();
    assert_eq!(login.limits.unwrap().to_string(), "3/m");
    assert_eq!(login.backend.as_deref(), Some("memory"));
    assert!(login.sites.is_empty());
    let site = policies
        .iter()
        .find(|policy| policy.name == "by header")
        .unwrap();
    assert_eq!(site.key, Some("header:X-API-Key"));
    assert!(site.sites[0].file.ends_with("guard.rs") && site.sites[0].line > 0);
}

#[tokio::test]
async fn a_failing_backend_leaves_all_or_nothing_to_the_postures() {
    let registry = |on_error| {
        Registry::builder()
            .backend("failing", Faulty::new(Fault::Fails).joining())
            .on_error(on_error)
            .policy(LOGIN.clone())
            .build()
            .unwrap()
    };
    let asks = [Ask::new(&LOGIN, "a"), Ask::new(&LOGIN, "b").cost(2)];
    let closed = registry(OnError::Closed);
    assert!(matches!(
        closed.check_all(&asks).await,
        Err(Rejection::Unavailable(_))
    ));
    let open = registry(OnError::Open).check_all(&asks).await.unwrap();
    assert!(
        open.iter()
            .all(|decision| decision.source() == Source::Open)
    );
    let local = registry(OnError::Local);
    let decisions = local.check_all(&asks).await.unwrap();
    assert!(
        decisions
            .iter()
            .all(|decision| decision.source() == Source::Local)
    );
    // `b` has one left only, so that nothing is taken from `a` either.
    assert!(matches!(
        local.check_all(&asks).await,
        Err(Rejection::Limited(_))
    ));
    let left = local.ask(&asks[0]).await.unwrap();
    assert_eq!((left.source(), left.remaining()), (Source::Local, 1));
    local.refund(&asks[0], &left).await.unwrap();
    assert_eq!(local.ask(&asks[0]).await.unwrap().remaining(), 1);
}

#[tokio::test]
async fn a_shadow_policy_is_not_charged_for_a_call_that_is_refused() {
    let (builder, _clock) = builder();
    let registry = builder
        .override_policy("login", Override::new().mode(Mode::Shadow))
        .build()
        .unwrap();
    let asks = [Ask::new(&LOGIN, "ip"), Ask::new(&EXPORT, "account").cost(6)];
    registry.check_all(&asks).await.unwrap();
    registry.check_all(&asks).await.unwrap_err();
    assert_eq!(registry.peek(&asks[0]).await.unwrap().remaining(), 2);
}

#[tokio::test]
async fn a_failure_does_not_hide_the_denial_of_another_question() {
    let registry = Registry::builder()
        .backend("failing", Faulty::new(Fault::FailsInPart).joining())
        .on_error(OnError::Open)
        .build()
        .unwrap();
    let full = Ask::new(&LOGIN, "full").cost(3);
    let other = Ask::new(&LOGIN, "other");
    let used = registry.check_all(&[full.clone(), other.clone()]).await;
    let used = used.unwrap();
    assert_eq!((used[0].source(), used[0].remaining()), (Source::Store, 0));
    assert_eq!(used[1].source(), Source::Open);
    let denied = registry.check_all(&[full.cost(1), other]).await;
    assert!(matches!(denied, Err(Rejection::Limited(_))), "{denied:?}");
}

#[tokio::test]
async fn a_call_that_nobody_makes_wait_does_not_run_early() {
    let delaying = || Registry::builder().backend("delaying", Delaying(MemoryBackend::new()));
    let registry = delaying().build().unwrap();
    let ask = Ask::new(&EXPORT, "a");
    let rejection = registry.ask(&ask).await.unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "rate limiter unavailable: backend `delaying`: protocol: the backend makes a call wait for \
         60s that may not be made to"
    );
    assert!(registry.ask_blocking(&ask).is_err());
    assert!(registry.check_many(std::slice::from_ref(&ask)).await[0].is_err());
    assert!(
        registry
            .check_all(std::slice::from_ref(&ask))
            .await
            .is_err()
    );
    let open = delaying().on_error(OnError::Open).build().unwrap();
    assert_eq!(
        open.check_all(&[ask]).await.unwrap()[0].source(),
        Source::Open
    );
}
