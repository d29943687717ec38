//! A process that installs a registry.

use ratelimit::{
    Algorithm, MemoryBackend, Mode, Override, Policy, Registry, Rejection, aratelimit, rate,
    ratelimit, testing,
};

#[ratelimit(name = "named", key = key, rate = "3/h", backend = "second")]
fn named(key: u32) -> Result<(), Rejection> {
    let _ = key;
    Ok(())
}

#[aratelimit(rate = "100/h")]
async fn overridden() -> Result<(), Rejection> {
    Ok(())
}

#[ratelimit(rate = "1/h")]
fn switched_off() -> Result<(), Rejection> {
    Ok(())
}

#[tokio::test]
async fn what_is_installed_holds() {
    // Before, the memory backend that is there by itself decides.
    assert!(switched_off().is_ok());
    assert!(switched_off().is_err());
    assert!(matches!(named(1), Err(Rejection::Unavailable(_))));

    let registry = Registry::builder()
        .backend("first", MemoryBackend::new())
        .backend("second", MemoryBackend::new())
        .default_backend("first")
        .override_policy(
            "installed::overridden",
            Override::new().limits(rate!("2/h")),
        )
        .override_policy("installed::switched_off", Override::new().mode(Mode::Off))
        .install()
        .unwrap();

    // Sites that resolved before look again.
    assert!((0..9).all(|_| switched_off().is_ok()));
    assert_eq!((0..9).filter(|_| named(1).is_ok()).count(), 3);
    assert!(overridden().await.is_ok());
    assert!(overridden().await.is_ok());
    assert!(overridden().await.is_err());

    {
        let _scope = testing::scope();
        for _ in 0..9 {
            assert!(overridden().await.is_ok(), "a scope has no overrides");
        }
    }
    assert!(overridden().await.is_err());

    let again = Registry::builder().install().unwrap_err();
    assert!(again.is_already_installed());
    let again = again.to_string();
    assert!(
        again.starts_with("a registry is already installed"),
        "{again}"
    );
    let policy = Policy::new("plain", Algorithm::FixedWindow, rate!("9/d"));
    registry.check(&policy, "k").await.unwrap();
    let left = Registry::current().check(&policy, "k").await.unwrap();
    assert_eq!(left.remaining(), 7, "the current one is the installed one");

    let policies: Vec<_> = registry
        .policies()
        .into_iter()
        .map(|policy| {
            (
                policy.name,
                policy.limits.unwrap().to_string(),
                policy.backend.unwrap(),
            )
        })
        .collect();
    let policies: Vec<_> = policies
        .iter()
        .map(|(name, limits, backend)| (name.as_str(), limits.as_str(), backend.as_str()))
        .collect();
    assert_eq!(
        policies,
        [
            ("installed::overridden", "2/h", "first"),
            ("installed::switched_off", "1/h", "first"),
            ("named", "3/h", "second"),
        ]
    );
}
