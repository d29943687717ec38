//! Several backends, registered in `main` and validated at start-up: first with every kind of
//! mistake, to see what is said of them, then as it should be.
//!
//! ```text
//! cargo run -p ratelimit-examples --bin registry
//! ```

use ratelimit::{MemoryBackend, Mode, Override, Registry, Rejection, rate, ratelimit};

/// Decided by the default backend.
#[ratelimit(name = "search", key = user, rate = "100/m")]
fn search(user: &str) -> Result<&'static str, Rejection> {
    let _ = user;
    Ok("found")
}

/// Decided by a backend of its own.
#[ratelimit(name = "export", key = user, rate = "2/h", algorithm = "sliding_window", backend = "audit")]
fn export(user: &str) -> Result<&'static str, Rejection> {
    let _ = user;
    Ok("exported")
}

fn main() -> Result<(), ratelimit::InstallError> {
    let wrong = Registry::builder()
        .backend("memory", MemoryBackend::new())
        .backend("audits", MemoryBackend::new())
        .default_backend("memroy")
        .override_policy("serach", Override::new().mode(Mode::Off))
        .install();
    if let Err(faults) = wrong {
        println!("what a faulty start-up says:\n{faults}\n");
    }

    let registry = Registry::builder()
        .backend("memory", MemoryBackend::new())
        .backend("audit", MemoryBackend::builder().max_keys(10_000).build())
        .default_backend("memory")
        .override_policy("search", Override::new().limits(rate!("1/m")))
        .install()?;

    println!("what is guarded:");
    for policy in registry.policies() {
        let limits = policy
            .limits
            .map_or("by call".to_owned(), |limits| limits.to_string());
        let backend = policy.backend.unwrap_or_default();
        println!(
            "  {}: {} {limits} on `{backend}`",
            policy.name, policy.algorithm
        );
    }

    println!("`search` twice, overridden to once a minute:");
    for _ in 0..2 {
        println!(
            "  {:?}",
            search("ada").map_err(|rejection| rejection.to_string())
        );
    }
    println!("`export` three times:");
    for _ in 0..3 {
        println!(
            "  {:?}",
            export("ada").map_err(|rejection| rejection.to_string())
        );
    }
    Ok(())
}
