//! How often the store is asked, and what is said when it fails.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ratelimit_backends::cas::{CasBackend, CasBuilder};
use ratelimit_core::{
    Adjust, Algorithm, AlgorithmSet, Backend, Check, ClockKind, Decision, Error, ErrorKind, Join,
    JoinScope, KeyBuf, ManualClock, Policy,
};

use super::PATIENCE;
use super::shelf::{Shelf, Trouble};

type Shared = Arc<Shelf>;

fn policy(limits: &str) -> Policy {
    Policy::new("p", Algorithm::TokenBucket, limits.parse().unwrap())
}

fn builder(shelf: &Shared) -> CasBuilder<Shared> {
    CasBackend::builder(Arc::clone(shelf)).timeout(PATIENCE)
}

async fn ask(backend: &dyn Backend, policy: &Policy, key: &str) -> Result<Decision, Error> {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref());
    backend.decide(&[check], Join::Each).await.remove(0)
}

#[tokio::test]
async fn a_decision_is_a_load_and_a_swap_and_a_denial_is_a_load() {
    let shelf = Shared::default();
    let backend = builder(&shelf).build().unwrap();
    let policy = policy("2/366d");
    for expected in [(1, 1), (1, 1), (1, 0), (1, 0)] {
        ask(&backend, &policy, "k").await.unwrap();
        assert_eq!(shelf.counted(), expected);
    }
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    for nothing in [check, check.with_cost(0)] {
        backend.peek(&[nothing]).await.remove(0).unwrap();
        assert_eq!(shelf.counted(), (1, 0));
    }
    backend.decide(&[check.with_cost(0)], Join::Each).await;
    assert_eq!(shelf.counted(), (1, 0));
    // What the store would not be asked for anyway.
    let never = backend
        .decide(&[check.with_cost(3)], Join::Each)
        .await
        .remove(0);
    assert_eq!(never.unwrap_err().kind(), ErrorKind::Unsatisfiable);
    assert_eq!(shelf.counted(), (0, 0));
    // All that is asked of one key is one load and one swap.
    let other = KeyBuf::of("other");
    let other = Check::new(&policy, policy.limits(), other.as_ref());
    let answers = backend.decide(&[other; 5], Join::Each).await;
    let allowed = answers.iter().flatten().filter(|it| it.is_allowed());
    assert_eq!(allowed.count(), 2);
    assert_eq!(shelf.counted(), (1, 1));
    let joined = backend.decide(&[other, other], Join::All).await;
    assert!(joined.iter().flatten().all(|it| !it.is_allowed()));
    assert_eq!(shelf.counted(), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_key_is_not_in_its_own_way() {
    let shelf = Shared::default();
    let backend = Arc::new(builder(&shelf).build().unwrap());
    let policy = Arc::new(policy("500/366d"));
    let tasks = (0..64).map(|_| {
        let (backend, policy) = (Arc::clone(&backend), Arc::clone(&policy));
        tokio::spawn(async move {
            let mut admitted = 0;
            for _ in 0..20 {
                let decision = ask(&*backend, &policy, "k").await.unwrap();
                admitted += u32::from(decision.is_allowed());
            }
            admitted
        })
    });
    let mut admitted = 0;
    for task in tasks.collect::<Vec<_>>() {
        admitted += task.await.unwrap();
    }
    assert_eq!(admitted, 500);
    assert_eq!(shelf.conflicts.load(Ordering::Relaxed), 0);
    let (loads, swaps) = shelf.counted();
    assert!(loads < 64 * 20 / 4, "{loads}: they were merged");
    assert!(swaps <= loads, "{swaps}");
}

#[tokio::test]
async fn what_is_over_or_given_back_is_not_kept() {
    let (shelf, clock) = (Shared::default(), ManualClock::new());
    let policy = policy("2/m");
    let backend = builder(&shelf).build().unwrap();
    let decision = ask(&backend, &policy, "k").await.unwrap();
    let kept = shelf.keeps_for();
    assert!(
        kept > Duration::from_secs(25) && kept <= Duration::from_secs(31),
        "{kept:?}"
    );
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let refund = Adjust::refund(check, decision.charge().clone());
    backend.adjust(&[refund]).await.remove(0).unwrap();
    assert_eq!(shelf.keys(), [""; 0]);

    // A clock that may step back has them kept for longer.
    let backend = builder(&shelf).clock(clock).build().unwrap();
    ask(&backend, &policy, "k").await.unwrap();
    assert!(shelf.keeps_for() > Duration::from_mins(59));
    assert_eq!(shelf.keys(), ["ratelimit:{t%01k}:p:token_bucket"]);
    backend.reset(&[check]).await.unwrap();
    assert_eq!(shelf.keys(), [""; 0]);
}

#[tokio::test]
async fn who_is_always_overtaken_gives_up_and_has_charged_nothing() {
    let shelf = Shared::default();
    let backend = builder(&shelf).retries(7).build().unwrap();
    let policy = policy("2/366d");
    shelf.has(Trouble::AlwaysOvertaken);
    let error = ask(&backend, &policy, "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error:?}");
    assert!(error.is_temporary());
    assert_eq!(error.message(), "others changed the key 8 times meanwhile");
    assert_eq!(shelf.counted(), (8, 8));
    shelf.has(Trouble::Nothing);
    assert_eq!(ask(&backend, &policy, "k").await.unwrap().remaining(), 1);

    // It is bounded by the time as well.
    shelf.has(Trouble::AlwaysOvertaken);
    let backend = builder(&shelf)
        .retries(u32::MAX)
        .timeout(Duration::from_millis(50));
    let backend = backend.build().unwrap();
    let error = ask(&backend, &policy, "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
}

#[tokio::test]
async fn what_a_store_says_when_it_fails() {
    let shelf = Shared::default();
    let backend = builder(&shelf).build().unwrap();
    let policy = policy("5/366d");
    let peek = async |key: &str| {
        let key = KeyBuf::of(key);
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        backend.peek(&[check]).await.remove(0)
    };
    for (trouble, kind) in [
        (Trouble::Garbage, ErrorKind::Protocol),
        (Trouble::Refuses, ErrorKind::Refused),
        (Trouble::Forgetful, ErrorKind::Protocol),
    ] {
        shelf.has(trouble);
        let error = ask(&backend, &policy, "k").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{trouble:?}: {error:?}");
        assert_eq!(peek("k").await.unwrap_err().kind(), kind, "{trouble:?}");
        assert_eq!(shelf.counted().1, 0, "{trouble:?}: nothing is written");
    }
    shelf.has(Trouble::Nothing);
    assert_eq!(ask(&backend, &policy, "k").await.unwrap().remaining(), 4);
}

#[tokio::test]
async fn a_store_that_hangs_costs_a_bounded_time() {
    let bound = Duration::from_millis(300);
    let shelf = Shared::default();
    let backend = builder(&shelf).timeout(bound).in_flight(1).build().unwrap();
    let policy = policy("5/366d");
    ask(&backend, &policy, "k").await.unwrap();
    for trouble in [Trouble::HangsAtLoads, Trouble::HangsAtSwaps] {
        shelf.has(trouble);
        let started = Instant::now();
        // The second waits behind the first.
        let (one, other) = tokio::join!(ask(&backend, &policy, "k"), ask(&backend, &policy, "l"));
        for error in [one.unwrap_err(), other.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{trouble:?}: {error:?}");
        }
        assert!(started.elapsed() < PATIENCE / 2, "{trouble:?}");
        shelf.has(Trouble::Nothing);
        // When the first gave up, the second may just have been asked for, which hangs for as long again at most: so does who
        // comes next, and nobody after that.
        if let Err(error) = ask(&backend, &policy, "m").await {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{trouble:?}: {error:?}");
        }
        ask(&backend, &policy, "m").await.unwrap();
    }
}

#[tokio::test]
async fn several_keys_are_not_one_decision() {
    let shelf = Shared::default();
    let backend = builder(&shelf).shared(false).forgets(true).build().unwrap();
    let capabilities = backend.capabilities();
    assert_eq!(capabilities.algorithms, AlgorithmSet::ALL);
    assert_eq!(capabilities.join, JoinScope::OneKey);
    assert_eq!(capabilities.clock, ClockKind::Process);
    assert!(!capabilities.shared && capabilities.forgets);
    let policy = policy("5/366d");
    let (one, other) = (KeyBuf::of("one"), KeyBuf::of("other"));
    let checks = [&one, &other].map(|key| Check::new(&policy, policy.limits(), key.as_ref()));
    for answer in backend.decide(&checks, Join::All).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(shelf.counted(), (0, 0));
}

#[test]
fn options_that_cannot_be() {
    let with = || builder(&Shared::default());
    for (builder, says) in [
        (with().timeout(Duration::ZERO), "a timeout of zero"),
        (with().in_flight(0), "in_flight is 0"),
        (with().max_batch(0), "max_batch is 0"),
        (with().max_waiting(0), "max_waiting is 0"),
        (with().prefix("it's"), "the prefix is"),
        (with().prefix("p".repeat(91)), "90 letters"),
    ] {
        let error = builder.build().expect_err(says);
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
        assert!(error.message().contains(says), "{error:?}");
    }
}
