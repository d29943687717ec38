//! Whoever asks at once, over whichever instance, exactly the limit is admitted, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ratelimit_core::{Algorithm, Backend, Check, Decision, Join, JoinScope, Policy};

use super::Store;
use super::bench::{Bench, check};

const TASKS: u32 = 32;

/// Lets many tasks work at once, each over the instance whose turn it is; adds up what they say.
fn at_once<F>(bench: &Bench, work: impl Fn(u32, Arc<dyn Backend>) -> F) -> u32
where
    F: Future<Output = u32> + Send + 'static,
{
    let tasks = (0..TASKS).map(|task| bench.spawn(work(task, Arc::clone(bench.next()))));
    let tasks: Vec<_> = tasks.collect();
    bench.run(async {
        let mut sum = 0;
        for task in tasks {
            sum += task.await.expect("a task");
        }
        sum
    })
}

async fn ask(backend: &dyn Backend, check: Check<'_>) -> Decision {
    // Now and then without I/O, now and then in a batch.
    tokio::task::yield_now().await;
    if check.cost == 1
        && let Some(answer) = backend.decide_now(&check)
    {
        return answer.expect("a decision");
    }
    let mut answers = backend.decide(&[check], Join::Each).await;
    answers.pop().expect("one answer").expect("a decision")
}

fn admits_exactly(bench: &Bench, policy: Policy, limit: u32) {
    let policy = Arc::new(policy);
    let admitted = at_once(bench, |task, backend| {
        let policy = Arc::clone(&policy);
        async move {
            let mut admitted = 0;
            for round in 0..20 {
                let cost = 1 + (task + round) % 3;
                let key = check(&policy, b"key").with_cost(cost);
                let decision = ask(&*backend, key).await;
                admitted += decision.charge().cost();
                assert_eq!(decision.is_allowed(), decision.charge().cost() == cost);
            }
            admitted
        }
    });
    let key = check(&policy, b"key");
    let rest = bench.peek(&key).remaining();
    assert_eq!(
        admitted + rest,
        limit,
        "{policy}: what is not admitted is left"
    );
    assert_eq!(admitted + bench.spend(&key, limit + 1), limit, "{policy}");
    assert!(rest <= 2, "{policy}: there were enough calls");
}

/// Of one rate.
pub fn exactly_the_limit(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    for _ in 0..10 {
        admits_exactly(&bench, bench.policy_of(algorithm, "301/h"), 301);
    }
}

/// Of the tightest of several rates; the others are charged as much.
pub fn exactly_the_limit_of_several_rates(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    for _ in 0..10 {
        let policy = bench.policy_of(algorithm, "400/m, 211/h, 500/d");
        admits_exactly(&bench, policy.clone(), 211);
        let left = bench.peek(&check(&policy, b"key").with_cost(0));
        let left: Vec<_> = left.quotas().map(|quota| quota.remaining).collect();
        assert_eq!(left, [400 - 211, 0, 500 - 211], "{algorithm}");
    }
}

/// Two keys joined in one decision, in either order, and each by itself: neither is admitted more than
/// its limit, and what one denies is not charged to the other.
pub fn joined_checks_lose_nothing(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    if bench.capabilities().join != JoinScope::Any {
        return;
    }
    let policies = Arc::new([
        bench.policy_of(algorithm, "230/h"),
        bench.policy_of(algorithm, "170/h, 900/d"),
    ]);
    let charged = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    at_once(&bench, |task, backend| {
        let (policies, charged) = (Arc::clone(&policies), Arc::clone(&charged));
        async move {
            for round in 0..30 {
                tokio::task::yield_now().await;
                let mut which =
                    [(task + round) as usize % 2, (task + round + 1) as usize % 2].to_vec();
                which.truncate(if round % 5 == 0 { 1 } else { 2 });
                let checks: Vec<_> = which
                    .iter()
                    .map(|one| check(&policies[*one], b"key"))
                    .collect();
                let answers = backend.decide(&checks, Join::All).await;
                let allowed = answers
                    .iter()
                    .flatten()
                    .filter(|answer| answer.is_allowed())
                    .count();
                assert!(allowed == 0 || allowed == checks.len(), "all or none");
                for (one, answer) in which.iter().zip(answers) {
                    let cost = answer.expect("a decision").charge().cost();
                    assert_eq!(cost, u32::from(allowed > 0), "a denial charges nothing");
                    charged[*one].fetch_add(cost, Ordering::Relaxed);
                }
            }
            0
        }
    });
    for (policy, (charged, limit)) in policies.iter().zip(charged.iter().zip([230, 170])) {
        let charged = charged.load(Ordering::Relaxed);
        let left = bench.peek(&check(policy, b"key")).remaining();
        assert_eq!(charged + left, limit, "{policy}");
    }
}

/// Calls that are all given back never use up the limit, and leave nothing used.
pub fn what_is_given_back_is_admitted_again(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    if !bench.refunds(algorithm) {
        return;
    }
    let policy = Arc::new(bench.policy_of(algorithm, "64/h"));
    let admitted = at_once(&bench, |_, backend| {
        let policy = Arc::clone(&policy);
        async move {
            let mut admitted = 0;
            for _ in 0..20 {
                let key = check(&policy, b"key").with_cost(2);
                let decision = ask(&*backend, key).await;
                admitted += u32::from(decision.is_allowed());
                let refund = ratelimit_core::Adjust::refund(key, decision.charge().clone());
                let answers = backend.adjust(&[refund]).await;
                assert!(answers.iter().all(Result::is_ok));
            }
            admitted
        }
    });
    assert_eq!(
        admitted,
        TASKS * 20,
        "{algorithm}: 64 fit 32 calls of two at once"
    );
    assert_eq!(
        bench.peek(&check(&policy, b"key")).remaining(),
        64,
        "{algorithm}"
    );
}
