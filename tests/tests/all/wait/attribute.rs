//! `wait = "…"` on functions: what start-up says of it, and what overrides make of it.

use std::time::Duration;

use ratelimit::{
    Algorithm, Mode, Override, Policy, Registry, Rejection, aratelimit, rate, ratelimit, testing,
};

use super::harness::{Counting, Hand, SECOND, limited};

#[aratelimit(name = "waits", key = key, rate = "2/10s", algorithm = "fixed_window", wait = "20s")]
async fn waits(key: &str) -> Result<String, Rejection> {
    Ok(key.to_owned())
}

#[aratelimit(
    name = "smooth",
    rate = "2/2s",
    algorithm = "leaky_bucket",
    wait = "20s"
)]
async fn smooth() -> Result<(), Rejection> {
    Ok(())
}

#[ratelimit(name = "waits differ", rate = "2/s", wait = "1 s")]
fn one_second() -> Option<()> {
    Some(())
}

#[ratelimit(name = "waits differ", rate = "2/s", wait = "3s")]
fn three_seconds() -> Option<()> {
    Some(())
}

#[test]
fn a_guarded_function_runs_when_there_is_a_place() {
    let scope = testing::scope();
    assert!(Hand::new(waits("k")).ready().is_ok());
    assert!(Hand::new(waits("k")).ready().is_ok());
    let (mut third, mut fourth) = (Hand::new(waits("k")), Hand::new(smooth()));
    third.pending();
    assert!(fourth.ready().is_ok());
    let mut fifth = Hand::new(smooth());
    fifth.pending();
    assert!(Hand::new(waits("another")).ready().is_ok());
    scope.clock().advance(SECOND);
    assert!(fifth.ready().is_ok());
    scope.clock().advance(9 * SECOND);
    assert_eq!(third.ready().unwrap(), "k");
    assert_eq!(
        (scope.registry().waiters(), scope.clock().sleepers()),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_that_waits_is_as_free_to_move_as_before() {
    let scope = testing::scope();
    let calls: Vec<_> = (0..4)
        .map(|_| tokio::spawn(scope.wrap(waits("k"))))
        .collect();
    super::harness::eventually(|| scope.registry().waiters() == 2 && scope.clock().sleepers() == 2);
    scope.clock().advance(10 * SECOND);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

#[test]
fn an_override_changes_how_long_calls_wait() {
    let with = |change: Override| {
        testing::scope_with(|clock| {
            Registry::builder()
                .backend("counting", Counting::new(clock))
                .override_policy("waits", change)
        })
        .unwrap()
    };
    let third = || {
        assert!(Hand::new(waits("k")).ready().is_ok());
        assert!(Hand::new(waits("k")).ready().is_ok());
        Hand::new(waits("k"))
    };
    let _scope = with(Override::new().wait(Duration::ZERO));
    assert_eq!(limited(third().ready()), 10 * SECOND);
    let _scope = with(Override::new().wait(9 * SECOND));
    assert_eq!(limited(third().ready()), 10 * SECOND);
    let scope = with(Override::new().wait(10 * SECOND));
    let mut call = third();
    call.pending();
    scope.clock().advance(10 * SECOND);
    assert!(call.ready().is_ok());
    let _scope = with(Override::new().mode(Mode::Shadow));
    assert!(third().ready().is_ok());
}

#[test]
fn an_override_makes_a_plain_policy_wait_but_not_its_batches() {
    static PLAIN: Policy = Policy::new("plain waits", Algorithm::FixedWindow, rate!("1/10s"));
    let scope = testing::scope_with(|clock| {
        Registry::builder()
            .backend("counting", Counting::new(clock))
            .policy(PLAIN.clone())
            .override_policy("plain waits", Override::new().wait(10 * SECOND))
    })
    .unwrap();
    let registry = scope.registry();
    assert!(Hand::new(registry.check(&PLAIN, "k")).ready().is_ok());
    let mut second = Hand::new(registry.check(&PLAIN, "k"));
    second.pending();
    let batch = registry.check_many_blocking(&[ratelimit::Ask::new(&PLAIN, "k")]);
    assert!(matches!(batch[0], Err(Rejection::Limited(_))));
    scope.clock().advance(10 * SECOND);
    assert!(second.ready().is_ok());
}

#[test]
fn the_registry_lists_how_long_calls_wait() {
    let registry = Registry::builder()
        .override_policy("smooth", Override::new().mode(Mode::Shadow))
        .build()
        .unwrap();
    let policies = registry.policies();
    let wait_of = |name| {
        let policy = policies.iter().find(|policy| policy.name == name);
        policy.unwrap().wait
    };
    assert_eq!(wait_of("waits"), Some(20 * SECOND));
    assert_eq!(wait_of("waits differ"), Some(3 * SECOND));
    assert_eq!(wait_of("smooth"), None, "it is in shadow mode");
    assert!(one_second().is_some() && three_seconds().is_some());
}
