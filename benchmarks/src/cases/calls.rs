//! A guarded function, end to end, against the same function written by hand.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};

use ratelimit::{
    Algorithm, Backend, Check, Error, ErrorKind, Key, KeyBuf, Limit, Limits, MemoryBackend, Policy,
    Rate, Registry, Rejection, ratelimit,
};

use super::keyed::{answer, case};
use super::{fill, nanos_each};
use crate::allocator;
use crate::contenders::{Contender, Entry};
use crate::keys::{Spread, sequence};
use crate::quota::Quota;
use crate::racer::Round;
use crate::results::{Group, Lane, Results};
use crate::settings::Settings;

pub const ANNOTATED: &str = "annotated";
pub const BY_REGISTRY: &str = "by hand, registry";
pub const BY_BACKEND: &str = "by hand, backend";

#[ratelimit(key = key, rate = "1/m", burst = 50_000_000)]
fn annotated_allow(key: &str) -> Result<(), Rejection> {
    black_box(key);
    Ok(())
}

#[ratelimit(key = key, rate = "1/366d")]
fn annotated_deny(key: &str) -> Result<(), Rejection> {
    black_box(key);
    Ok(())
}

fn by_registry(registry: &Registry, policy: &Policy, key: &str) -> Result<(), Rejection> {
    registry.check_blocking(policy, key)?;
    black_box(key);
    Ok(())
}

fn by_backend(backend: &MemoryBackend, policy: &Policy, key: &str) -> Result<(), Rejection> {
    let mut scratch = KeyBuf::new();
    let check = Check::new(policy, policy.limits(), key.key_ref(&mut scratch));
    let unanswered = || Error::new(ErrorKind::Unsupported, "the backend decides elsewhere");
    let decision = backend
        .decide_now(&check)
        .unwrap_or_else(|| Err(unanswered()));
    match decision {
        Ok(decision) if decision.is_allowed() => {
            black_box(key);
            Ok(())
        }
        Ok(decision) => Err(Rejection::Limited(decision)),
        Err(error) => Err(Rejection::Unavailable(error)),
    }
}

/// The registry of this process, and the backend that it has.
fn registry() -> &'static (Registry, Arc<MemoryBackend>) {
    static REGISTRY: OnceLock<(Registry, Arc<MemoryBackend>)> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let backend = Arc::new(MemoryBackend::new());
        let installed = Registry::builder()
            .backend("memory", Arc::clone(&backend))
            .install();
        (installed.expect("the registry has no faults"), backend)
    })
}

/// A policy that says what the attribute says, under a name of its own.
fn policy(name: &'static str, quota: Quota) -> Policy {
    let rate = Rate::new(1, quota.one_per()).expect("the rate is within bounds");
    let limit = Limit::new(rate)
        .with_burst(quota.burst())
        .expect("the burst is within bounds");
    Policy::new(name, Algorithm::TokenBucket, rate).with_limits(Limits::new(limit))
}

struct Annotated(fn(&str) -> Result<(), Rejection>);

impl Contender<String> for Annotated {
    fn new(quota: Quota, _: usize) -> Self {
        registry();
        Self(if quota.allows() {
            annotated_allow
        } else {
            annotated_deny
        })
    }

    #[inline]
    fn is_allowed(&self, key: &String) -> bool {
        (self.0)(key).is_ok()
    }
}

struct ByRegistry(&'static Registry, Policy);

impl Contender<String> for ByRegistry {
    fn new(quota: Quota, _: usize) -> Self {
        let name = if quota.allows() {
            "registry, allow"
        } else {
            "registry, deny"
        };
        Self(&registry().0, policy(name, quota))
    }

    #[inline]
    fn is_allowed(&self, key: &String) -> bool {
        by_registry(self.0, &self.1, key).is_ok()
    }
}

struct ByBackend(&'static MemoryBackend, Policy);

impl Contender<String> for ByBackend {
    fn new(quota: Quota, _: usize) -> Self {
        let name = if quota.allows() {
            "backend, allow"
        } else {
            "backend, deny"
        };
        Self(&registry().1, policy(name, quota))
    }

    #[inline]
    fn is_allowed(&self, key: &String) -> bool {
        by_backend(self.0, &self.1, key).is_ok()
    }
}

/// The three ways to say the same.
pub fn entries() -> [Entry<String>; 3] {
    [
        Entry::of::<Annotated>(ANNOTATED),
        Entry::of::<ByRegistry>(BY_REGISTRY),
        Entry::of::<ByBackend>(BY_BACKEND),
    ]
}

const KEYS: u32 = 1_000;

pub fn run(settings: &Settings, results: &mut Results) {
    for allowed in [true, false] {
        // The keys stay in the registry, so that each case has used them before.
        let quota = if allowed {
            Quota::AllowFew
        } else {
            Quota::Deny
        };
        let case = case(KEYS, Spread::Uniform, allowed);
        let times = settings.wants(Group::Calls, &case);
        let allocations = settings.wants(Group::Allocations, answer(allowed));
        if !times && !allocations {
            continue;
        }
        let entries = entries();
        let racers: Vec<_> = entries
            .iter()
            .map(|entry| {
                let racer = (entry.make)(quota, KEYS as usize);
                fill(&*racer, KEYS);
                racer
            })
            .collect();
        let (length, repeats) = settings.decisions(KEYS);
        let keys: Vec<String> = sequence(Spread::Uniform, KEYS, length);
        let round = Round {
            keys: &keys,
            repeats,
            allowed,
        };
        if times {
            let lanes = entries
                .iter()
                .zip(&racers)
                .map(|(entry, racer)| Lane::new(entry.name, move || nanos_each(&**racer, round)));
            results.race(settings, Group::Calls, &case, lanes.collect());
        }
        if allocations {
            for (entry, racer) in entries.iter().zip(&racers) {
                let counted = allocator::counted(|| {
                    racer.time(Round {
                        repeats: 1,
                        ..round
                    });
                });
                let each = counted.calls as f64 / keys.len() as f64;
                results.note(Group::Allocations, answer(allowed), entry.name, vec![each]);
            }
        }
    }
}
