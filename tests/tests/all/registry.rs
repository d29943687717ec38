//! Start-up validation: every fault, with its place, at once.

use ratelimit::{
    Algorithm, Builder, MemoryBackend, Mode, OnError, Override, Policy, Registry, rate, ratelimit,
};

use crate::backends::Small;

/// Faulty sites, which only the tests here validate.
mod faulty {
    use ratelimit::{Rate, Rejection, rate, ratelimit};

    const RATE: Rate = rate!("5/h");

    #[ratelimit(name = "unknown backend", rate = "10/m", backend = "rediss")]
    pub(super) fn unknown_backend() -> Result<(), Rejection> {
        Ok(())
    }

    #[ratelimit(name = "long log", rate = "20000/h", algorithm = "sliding_window")]
    pub(super) fn long_log() -> Result<(), Rejection> {
        Ok(())
    }

    #[ratelimit(
        name = "long log in an arm",
        rate = if small { "10/h" } else { "20000/h" },
        algorithm = "sliding_window",
    )]
    pub(super) fn long_log_in_an_arm(small: bool) -> Result<(), Rejection> {
        Ok(())
    }

    #[ratelimit(name = "shared", rate = "10/m")]
    pub(super) fn shared() -> Result<(), Rejection> {
        Ok(())
    }

    #[ratelimit(name = "shared", rate = "20/m")]
    pub(super) fn shared_otherwise() -> Result<(), Rejection> {
        Ok(())
    }

    #[ratelimit(name = "agreed", rate = "1/s, 10/m")]
    pub(super) fn agreed() -> Result<(), Rejection> {
        Ok(())
    }

    #[ratelimit(name = "agreed", rate = "10/m, 1/s")]
    pub(super) fn agreed_too() -> Result<(), Rejection> {
        Ok(())
    }

    pub(super) struct One;
    pub(super) struct Two;

    impl One {
        #[ratelimit(rate = "10/m")]
        pub(super) fn method() -> Result<(), Rejection> {
            Ok(())
        }
    }

    impl Two {
        #[ratelimit(rate = "10/m")]
        pub(super) fn method() -> Result<(), Rejection> {
            Ok(())
        }
    }

    #[ratelimit(name = "costly", rate = RATE, cost = 8)]
    pub(super) fn costly() -> Result<(), Rejection> {
        Ok(())
    }

    #[ratelimit(
        name = "overridden",
        rate = "10/m",
        cost = 4,
        algorithm = "fixed_window"
    )]
    pub(super) fn overridden() -> Result<(), Rejection> {
        Ok(())
    }
}

fn used() {
    use faulty::*;
    let _ = (
        unknown_backend(),
        long_log(),
        long_log_in_an_arm(true),
        shared(),
        shared_otherwise(),
    );
    let _ = (
        agreed(),
        agreed_too(),
        One::method(),
        Two::method(),
        costly(),
        overridden(),
    );
}

/// What `install` would say of the sites of this file; it never installs anything, as there is
/// always a fault.
fn faults(builder: Builder, sites: &'static [&'static str]) -> Vec<String> {
    let error = builder
        .override_policy("always a fault", Override::new())
        .sites(move |site| sites.contains(&site.policy))
        .install()
        .unwrap_err();
    let faults = error.faults().iter();
    faults
        .map(ToString::to_string)
        .filter(|fault| !fault.contains("always a fault"))
        .collect()
}

fn memory() -> Builder {
    Registry::builder().backend("memory", MemoryBackend::new())
}

#[test]
fn every_fault_is_reported_with_its_place() {
    used();
    let builder = memory()
        .backend("redis", MemoryBackend::new())
        .default_backend("memory");
    let found = faults(
        builder,
        &[
            "unknown backend",
            "long log",
            "long log in an arm",
            "shared",
            "agreed",
            "all::registry::faulty::method",
        ],
    );
    let expected = [
        "policy `unknown backend`: unknown backend `rediss`; did you mean `redis`? there are: \
         memory, redis",
        "policy `long log`: backend `memory` cannot decide it: a `sliding_window` keeps one entry \
         per admitted call, and its log holds 10000 entries, not 20000; use \
         `sliding_window_counter`, or allow a longer log",
        "policy `long log in an arm`: backend `memory` cannot decide 20000/h: a `sliding_window` \
         keeps",
        "policy `shared`: it shares its name, and so its budget, with ",
        "policy `all::registry::faulty::method`: its name, made from the function's path, is also \
         that of ",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        let (place, message) = found.split_once(": ").unwrap();
        assert!(place.contains("registry.rs:"), "{place}");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_cost_that_an_override_makes_too_large_is_a_fault() {
    let builder = memory()
        .override_policy("costly", Override::new().limits(rate!("7/h")))
        .override_policy("overridden", Override::new().limits(rate!("3/m")).burst(10));
    let found = faults(builder, &["costly", "overridden"]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].contains("its cost of 8 can never fit 7/h: at most 7 at once"));
    assert!(found[1].contains("its override has a burst, but `fixed_window` has none"));
    assert!(found[2].contains("its cost of 4 can never fit 3/m burst 10: at most 3 at once"));
}

#[test]
fn overrides_that_do_not_fit_are_faults() {
    let builder = memory()
        .override_policy("shard", Override::new())
        .override_policy("agreed", Override::new().backend("memry"))
        .override_policy("long log in an arm", Override::new().burst(0));
    let found = faults(builder, &["agreed", "long log in an arm"]);
    for start in [
        "an override names an unknown policy `shard`; did you mean `shared`? there are: ",
        "policy `agreed`: its override names an unknown backend `memry`; did you mean `memory`? \
         there are: memory",
        "policy `long log in an arm`: its override has a burst but no limits, and each call \
         brings its own",
        "policy `long log in an arm`: its override has a burst, but `sliding_window` has none",
        "policy `long log in an arm`: a burst must be at least 1",
    ] {
        assert!(
            found.iter().any(|fault| fault.contains(start)),
            "{start}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn an_override_may_name_another_backend_than_one_that_is_not_there() {
    let builder = memory().override_policy("unknown backend", Override::new().backend("memory"));
    assert_eq!(faults(builder, &["unknown backend"]), [""; 0]);
}

#[test]
fn policies_of_the_plain_api_are_checked_like_sites() {
    let policy = Policy::new("window", Algorithm::FixedWindow, rate!("10/m"));
    let burst: ratelimit::Limits = "5/m".parse().unwrap();
    let error = memory()
        .policy(policy.clone())
        .policy(policy.clone())
        .policy(policy.with_mode(Mode::Shadow))
        .override_policy(
            "window",
            Override::new().limits(burst.with_bursts(&[9]).unwrap()),
        )
        .build()
        .unwrap_err();
    let found: Vec<_> = error.faults().iter().map(ToString::to_string).collect();
    for message in [
        "policy `window`: two policies have this name, and so share their budget, but differ",
        "policy `window`: its override has a burst, but `fixed_window` has none",
    ] {
        let said = found.iter().filter(|fault| *fault == message).count();
        assert_eq!(said, 1, "{message}: {found:#?}");
    }
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn the_builder_itself_is_checked() {
    let error = memory()
        .backend("memory", MemoryBackend::new())
        .backend("", MemoryBackend::new())
        .default_backend("redis")
        .blocking_timeout(std::time::Duration::ZERO)
        .override_policy("shared", Override::new().mode(Mode::Off))
        .override_policy("shared", Override::new().mode(Mode::Shadow))
        .policy(Policy::new(
            "plain",
            Algorithm::SlidingWindow,
            rate!("20000/h"),
        ))
        .build()
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("5 faults in the rate limits\n"),
        "{message}"
    );
    for part in [
        "two backends are registered as `memory`",
        "a backend is registered under an empty name",
        "unknown default backend `redis`; there are: memory",
        "policy `shared` is overridden twice",
        "a blocking timeout of zero answers nobody",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(
        format!("{error:?}"),
        message,
        "what `main` prints when it returns it"
    );
}

#[test]
fn several_backends_need_a_default_where_a_site_names_none() {
    let builder = memory().backend("other", MemoryBackend::new());
    let found = faults(builder, &["agreed"]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("several backends are registered, and none is the default"));
}

#[ratelimit(name = "windowed", rate = "10/m", algorithm = "fixed_window")]
fn windowed() -> Option<()> {
    Some(())
}

#[ratelimit(name = "too fine", rate = "2000/s")]
fn too_fine() -> Option<()> {
    Some(())
}

#[test]
fn what_a_backend_cannot_do_is_a_fault() {
    let found = faults(
        Registry::builder().backend("small", Small::new()),
        &["windowed", "too fine"],
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains(
        "backend `small` cannot decide it: it has no `fixed_window`; it has token_bucket"
    ));
    assert!(found[1].contains(
        "its clock has a resolution of 1ms, which is longer than 2000/s takes to give one unit"
    ));
    // Without `install`, the first call says the same.
    let builder = Registry::builder()
        .backend("small", Small::new())
        .on_error(OnError::Open);
    let _scope = ratelimit::testing::scope_with(|_| builder).unwrap();
    assert_eq!((windowed(), too_fine()), (None, None));
}

#[test]
fn policies_of_the_plain_api_agree_with_sites() {
    let window = |limits: &str| {
        Policy::named(
            "plain window".into(),
            Algorithm::FixedWindow,
            limits.parse().unwrap(),
        )
    };
    let burst = window("3/h").limits().with_bursts(&[9]).unwrap();
    let error = memory()
        .policy(window("3/h").with_limits(burst))
        .policy(window("4/h"))
        .policy(Policy::new("agreed", Algorithm::Gcra, rate!("7/h")))
        .policy(Policy::new(
            "windowed",
            Algorithm::FixedWindow,
            rate!("10/m"),
        ))
        .override_policy("plain window", Override::new().burst(5))
        .build()
        .unwrap_err();
    let faults: Vec<_> = error.faults().iter().map(ToString::to_string).collect();
    for (part, count) in [
        (
            "policy `plain window`: it has a burst, but `fixed_window` has none",
            1,
        ),
        (
            "policy `plain window`: its override has a burst, but `fixed_window` has none",
            1,
        ),
        (
            "policy `plain window`: two policies have this name, and so share their budget, but differ",
            1,
        ),
        ("policy `agreed`: a policy of the plain API has its name", 2),
        ("windowed", 0),
    ] {
        let found = faults.iter().filter(|fault| fault.contains(part)).count();
        assert_eq!(found, count, "{part}: {faults:#?}");
    }
    assert!(!error.is_already_installed());
}

#[test]
fn sites_of_one_name_agree_on_having_a_key() {
    #[ratelimit(name = "half keyed", rate = "10/m", key = user)]
    fn keyed(user: u32) -> Option<u32> {
        Some(user)
    }

    #[ratelimit(name = "half keyed", rate = "10/m")]
    fn unkeyed() -> Option<()> {
        Some(())
    }

    let _ = (keyed(1), unkeyed());
    let found = faults(memory(), &["half keyed"]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("or one of them has no key"), "{found:#?}");
}

#[test]
fn what_a_backend_cannot_do_is_an_error_for_limits_that_a_call_brings() {
    let registry = Registry::builder()
        .backend("small", Small::new())
        .on_error(OnError::Open)
        .build()
        .unwrap();
    let policy = Policy::new("brings its own", Algorithm::TokenBucket, rate!("1/s"));
    let ask = ratelimit::Ask::new(&policy, "k").limits(rate!("2000/s"));
    let message = registry.ask_blocking(&ask).unwrap_err().to_string();
    assert!(
        message.contains("its clock has a resolution of 1ms"),
        "{message}"
    );
}

#[test]
fn a_backend_that_cannot_correct_charges_says_so() {
    let registry = Registry::builder()
        .backend("small", Small::new())
        .build()
        .unwrap();
    let policy = Policy::new("uncorrected", Algorithm::TokenBucket, rate!("5/s"));
    let ask = ratelimit::Ask::new(&policy, "k");
    let decision = registry.ask_blocking(&ask).unwrap();
    let error = registry.refund_blocking(&ask, &decision).unwrap_err();
    assert_eq!(
        error.to_string(),
        "backend `small`: unsupported: it cannot correct what a `token_bucket` has charged"
    );
}

#[test]
fn every_site_of_a_name_is_compared_and_a_given_name_is_no_defaulted_one() {
    fn first() -> Option<()> {
        #[ratelimit(name = "three of one", rate = "1/s")]
        fn guarded() -> Option<()> {
            Some(())
        }
        guarded()
    }

    #[ratelimit(name = "three of one", rate = "1/s")]
    fn second() -> Option<()> {
        Some(())
    }

    #[ratelimit(name = "three of one", rate = "2/s")]
    fn third() -> Option<()> {
        Some(())
    }

    #[ratelimit(rate = "1/s")]
    fn defaulted() -> Option<()> {
        Some(())
    }

    #[ratelimit(name = "all::registry::defaulted", rate = "1/s")]
    fn given() -> Option<()> {
        Some(())
    }

    let _ = (first(), second(), third(), defaulted(), given());
    let found = faults(memory(), &["three of one"]);
    assert_eq!(found.len(), 1, "{found:#?}");
    let found = faults(memory(), &["all::registry::defaulted"]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("made from the function's path"),
        "{found:#?}"
    );
}
