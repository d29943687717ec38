//! What configures a registry, and the calls that it then decides.
//!
//! The input makes a [`plan::Plan`]: backends with their bounds, some of them broken, the default one,
//! policies, overrides and postures; and calls, through the plain API and of annotated functions.
//!
//! - Nothing panics.
//! - `build` fails exactly where the plan has a fault by its description (`expected`), and each fault is
//!   told in a line that names what was given.
//! - A registry lists its policies as their overrides make them.
//! - While the clock stands, what a key is admitted is never more than its capacity after the override,
//!   and never less, where the backend has room for all of the keys. What remains is said.
//! - A call is refused for the reason that holds: what can never fit is `Unsatisfiable`, and what
//!   cannot be decided is `Unavailable`, or what the posture says. Under a registry that was built,
//!   the policies that it was told of are never unusable.

mod broken;
mod expected;
mod plan;

use std::collections::HashMap;

use arbitrary::{Result, Unstructured};
use ratelimit::{
    Algorithm, Ask, Decision, Limits, Mode, OnError, Policy, Registry, Rejection, ratelimit,
    testing,
};

use expected::{Annotated, Holds};
use plan::{Plan, Store};

#[ratelimit(name = "guarded", key = who, rate = "3/s, 100/h", cost = cost)]
fn guarded(who: u8, cost: u32) -> core::result::Result<(), Rejection> {
    let _ = (who, cost);
    Ok(())
}

#[ratelimit(name = "windowed", key = who, rate = "5/m", cost = cost, algorithm = "sliding_window", backend = "redis")]
fn windowed(who: u8, cost: u32) -> core::result::Result<(), Rejection> {
    let _ = (who, cost);
    Ok(())
}

/// The two functions as the builder knows them.
fn annotated() -> [Annotated; 2] {
    let limits = |text: &str| text.parse::<Limits>().expect("it is a rate");
    [
        Annotated {
            policy: Policy::named(
                "guarded".into(),
                Algorithm::TokenBucket,
                limits("3/s, 100/h"),
            ),
            backend: None,
        },
        Annotated {
            policy: Policy::named("windowed".into(), Algorithm::SlidingWindow, limits("5/m")),
            backend: Some("redis"),
        },
    ]
}

/// With this much room no key of an input shares a bucket.
const ROOM: usize = 64;

/// Checks all of it for one input.
pub fn check(input: &[u8]) {
    let _ = of_plan(&mut Unstructured::new(input));
}

fn of_plan(input: &mut Unstructured<'_>) -> Result<()> {
    let plan = Plan::new(input)?;
    let annotated = annotated();
    let expected = plan.faults(&annotated);
    let scope = match testing::scope_with(|clock| plan.builder(&clock)) {
        Ok(scope) => scope,
        Err(error) => {
            assert!(!expected.is_empty(), "no fault was expected: {error}");
            let told: Vec<_> = error.faults().iter().map(ToString::to_string).collect();
            for parts in &expected {
                let is_told = told
                    .iter()
                    .any(|line| parts.iter().all(|part| line.contains(part)));
                assert!(is_told, "{parts:?} is not told in {told:?}");
            }
            assert!(told.iter().all(|line| error.to_string().contains(line)));
            return Ok(());
        }
    };
    assert!(
        expected.is_empty(),
        "the registry was built in spite of {expected:?}"
    );
    is_listed(&plan, scope.registry());

    let mut used = Used::new();
    for _ in 0..input.int_in_range(0..=24)? {
        let (who, cost) = (input.int_in_range(0..=2)?, cost(input)?);
        let index = input.int_in_range(0..=plan.policies.len() + 1)?;
        match plan.policies.get(index) {
            Some(policy) => {
                let names = ["memory", "redis"];
                let named = input
                    .ratio(1, 4)?
                    .then(|| input.choose(&names))
                    .transpose()?;
                let mut ask = Ask::new(policy, &who).cost(cost);
                if let Some(name) = named {
                    ask = ask.backend(name);
                }
                let holds = plan.holds(policy, named.copied());
                if named.is_none() {
                    assert_eq!(holds.fault, None);
                }
                let answer = scope.registry().ask_blocking(&ask);
                is_right(
                    &plan,
                    policy,
                    &holds,
                    (who, cost),
                    &answer.map(Some),
                    &mut used,
                );
            }
            None => {
                let site = &annotated[index - plan.policies.len()];
                let holds = plan.holds(&site.policy, site.backend);
                let answer = match site.policy.name() {
                    "guarded" => guarded(who, cost),
                    _ => windowed(who, cost),
                };
                is_right(
                    &plan,
                    &site.policy,
                    &holds,
                    (who, cost),
                    &answer.map(|()| None),
                    &mut used,
                );
            }
        }
    }
    Ok(())
}

/// Small, so that several fit; or any.
fn cost(input: &mut Unstructured<'_>) -> Result<u32> {
    match input.ratio(1, 4)? {
        true => plan::number(input),
        false => input.int_in_range(0..=3),
    }
}

fn is_listed(plan: &Plan, registry: &Registry) {
    let listed = registry.policies();
    for policy in &plan.policies {
        let holds = plan.holds(policy, None);
        let info = listed.iter().find(|info| info.name == policy.name());
        let info = info.unwrap_or_else(|| panic!("{policy} is not listed"));
        assert_eq!(info.algorithm, policy.algorithm());
        assert_eq!(info.limits, Some(holds.limits), "{policy}");
        assert_eq!(
            (info.mode, info.on_error),
            (holds.mode, holds.on_error),
            "{policy}"
        );
        assert_eq!(info.backend, holds.backend, "{policy}");
    }
}

/// What was admitted, by policy, backend and key.
type Used = HashMap<(String, Option<String>, u8), u64>;

/// The answer, with a decision where the plain API gave it.
type Answer = core::result::Result<Option<Decision>, Rejection>;

fn is_right(
    plan: &Plan,
    policy: &Policy,
    holds: &Holds<'_>,
    (who, cost): (u8, u32),
    answer: &Answer,
    used: &mut Used,
) {
    let context = || {
        format!(
            "{policy} as {} in {}, cost {cost}: {answer:?}",
            holds.limits, holds.mode
        )
    };
    if let Err(rejection) = answer {
        assert!(!rejection.to_string().is_empty());
    }
    if holds.mode == Mode::Off || cost == 0 {
        assert!(answer.is_ok(), "{}", context());
        return;
    }
    // In shadow mode every call runs, and is charged as ever.
    let expect = |holds_true: bool| assert!(holds_true, "{}", context());
    let shadow = holds.mode == Mode::Shadow;
    expect(!shadow || answer.is_ok());
    let capacity = holds.limits.capacity(policy.algorithm());
    if holds.fault.is_some() {
        expect(shadow || matches!(answer, Err(Rejection::Unavailable(_))));
    } else if cost > capacity {
        expect(shadow || matches!(answer, Err(Rejection::Unsatisfiable { .. })));
    } else if let Some(Store::Broken(_)) = holds.store {
        expect(match holds.on_error {
            // This process's memory follows the time of day.
            OnError::Local => matches!(answer, Ok(_) | Err(Rejection::Limited(_))),
            OnError::Open => answer.is_ok(),
            _ => shadow || matches!(answer, Err(Rejection::Unavailable(_))),
        });
    } else {
        expect(matches!(answer, Ok(_) | Err(Rejection::Limited(_))));
        if !plan.is_on_the_clock() {
            return;
        }
        let key = (policy.name().to_owned(), holds.backend.clone(), who);
        let used = used.entry(key).or_default();
        let fits = *used + u64::from(cost) <= u64::from(capacity);
        let roomy =
            matches!(holds.store, Some(Store::Memory { max_keys, .. }) if *max_keys >= ROOM);
        expect(shadow || fits || answer.is_err());
        expect(shadow || !roomy || fits == answer.is_ok());
        if fits && (roomy || answer.is_ok()) {
            *used += u64::from(cost);
        }
        if let (true, Ok(Some(decision))) = (roomy, answer) {
            expect(decision.is_allowed() == fits);
            expect(u64::from(decision.remaining()) == u64::from(capacity) - *used);
        }
    }
}
