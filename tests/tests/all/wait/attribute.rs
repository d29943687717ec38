//! `wait = "…"` on functions: what start-up says of it, and what overrides make of it.

use std::time::Duration;

use ratelimit::{
    Algorithm, AlgorithmSet, Mode, Override, Policy, Registry, Rejection, aratelimit, rate,
    ratelimit, testing,
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
fn start_up_says_where_a_backend_cannot_delay() {
    static DRIPS: Policy = Policy::new("drips", Algorithm::LeakyBucket, rate!("1/s"));
    let wanted = ["smooth", "waits", "drips"];
    let faults = |change: Override| {
        let backend = Counting::new(ratelimit::ManualClock::new());
        let wrong = Registry::builder()
            .backend(
                "abrupt",
                backend.with(|can| can.with_delay(AlgorithmSet::EMPTY)),
            )
            .policy(DRIPS.clone())
            .override_policy("drips", Override::new().wait(SECOND))
            .override_policy("smooth", change)
            // So that nothing is ever installed.
            .override_policy("nobody", Override::new())
            .sites(move |site| wanted.contains(&site.policy) && site.wait == Some(20 * SECOND))
            .install()
            .unwrap_err();
        let faults = wrong.faults().iter();
        faults.map(ToString::to_string).collect::<Vec<_>>()
    };
    let said = "backend `abrupt` cannot decide it: it cannot give a call of a `leaky_bucket` its \
                place in the queue, which `wait` asks for; remove `wait`, or use `token_bucket` or \
                another backend";
    let found = faults(Override::new());
    assert_eq!(found[0], format!("policy `drips`: {said}"));
    assert!(found[1].contains("`nobody`"), "{found:?}");
    let here = format!("{}:", file!());
    assert!(found[2].starts_with(&here), "{found:?}");
    assert!(found[2].ends_with(&format!("policy `smooth`: {said}")));
    assert_eq!(found.len(), 3, "the other one queues in its process");
    // Without waiting, there is nothing to delay.
    for change in [
        Override::new().wait(Duration::ZERO),
        Override::new().mode(Mode::Shadow),
    ] {
        assert_eq!(faults(change).len(), 2);
    }
    let found = faults(Override::new().wait(Duration::from_hours(2)));
    assert!(found[2].contains("cannot give a call"), "{found:?}");
}

#[test]
fn an_override_waits_no_longer_than_an_attribute() {
    let wrong = Registry::builder()
        .override_policy("waits", Override::new().wait(Duration::from_hours(2)))
        .sites(|site| site.policy == "waits")
        .override_policy("nobody", Override::new())
        .install()
        .unwrap_err();
    let said = "policy `waits`: a wait of 7200s is too long: at most one hour";
    assert!(wrong.faults()[1].to_string().ends_with(said), "{wrong}");
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
