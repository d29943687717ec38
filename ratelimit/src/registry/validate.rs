//! Start-up validation: every fault of every site and policy, at once.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use ratelimit_core::{Algorithm, Error, Limits, Policy};

use super::faults::{Faults, Location, unknown};
use super::{Inner, Override, Resolved};
use crate::site::{Site, collected};

/// An annotated function, as [`Builder::sites`](super::Builder::sites) shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteInfo {
    /// The name of its policy.
    pub policy: &'static str,
    /// Where the attribute is.
    pub location: Location,
    /// How long a call waits for a place before it is rejected, before overrides; `None` where it
    /// does not wait.
    pub wait: Option<Duration>,
}

/// What is wrong with the policies of the plain API and with the overrides.
pub(super) fn policies(inner: &Arc<Inner>, faults: &mut Faults) {
    for (index, policy) in inner.policies.iter().enumerate() {
        let mut earlier = inner.policies[..index].iter();
        if let Some(namesake) = earlier.find(|other| other.name() == policy.name()) {
            if namesake != policy {
                faults.add_policy(
                    policy.name(),
                    "two policies have this name, and so share their budget, but differ",
                );
            }
            continue;
        }
        plain_policy(inner, policy, faults);
        for site in collected().filter(|site| site.name == policy.name()) {
            let dynamic = site.dynamic || site.limits.first() == Some(policy.limits());
            if site.algorithm != policy.algorithm() || !dynamic {
                faults.add_site(
                    site,
                    "a policy of the plain API has its name, and so its budget, but another \
                     algorithm or other rates",
                );
            }
        }
    }
    let mut known: Vec<_> = collected().map(|site| site.name).collect();
    known.extend(inner.policies.iter().map(Policy::name));
    known.sort_unstable();
    known.dedup();
    let mut names: Vec<_> = inner.overrides.keys().collect();
    names.sort();
    for name in names {
        if !known.contains(&name.as_str()) {
            let unknown = unknown("policy", name, known.iter());
            faults.add(format!("an override names an {unknown}"));
        }
        if let Some(backend) = inner.overrides[name].backend_name()
            && !inner.backends.contains_key(backend)
        {
            let unknown = unknown("backend", backend, inner.backends.keys());
            faults.add_policy(name, format!("its override names an {unknown}"));
        }
    }
}

fn plain_policy(inner: &Arc<Inner>, policy: &Policy, faults: &mut Faults) {
    let resolved = inner.resolve(policy, None, None, false, None, 0);
    let change = inner.overrides.get(policy.name());
    if policy.limits().has_burst() && !policy.algorithm().is_bucket() {
        let algorithm = policy.algorithm();
        faults.add_policy(
            policy.name(),
            format!("it has a burst, but `{algorithm}` has none"),
        );
    }
    for fault in burst_of(change, policy.algorithm(), false) {
        faults.add_policy(policy.name(), fault);
    }
    let default = inner.default_backend.as_deref();
    let said = default.is_some_and(|name| !inner.backends.contains_key(name));
    if let Some(error) = &resolved.fault
        && !(said && resolved.entry.is_none())
    {
        faults.add_policy(policy.name(), about(error));
    }
}

/// What is wrong with the burst of an override.
fn burst_of(change: Option<&Override>, algorithm: Algorithm, dynamic: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(change) = change else { return faults };
    if change.has_burst() && !algorithm.is_bucket() {
        faults.push(format!(
            "its override has a burst, but `{algorithm}` has none"
        ));
    }
    if change.burst.is_some() && dynamic && change.limits.is_none() {
        let fault = "its override has a burst but no limits, and each call brings its own";
        faults.push(fault.to_owned());
    }
    faults
}

/// What is wrong with the annotated functions.
pub(super) fn sites(inner: &Arc<Inner>, wanted: impl Fn(&SiteInfo) -> bool, faults: &mut Faults) {
    let mut by_name = BTreeMap::<&str, Vec<&'static Site>>::new();
    for site in collected() {
        let info = SiteInfo {
            policy: site.name,
            location: Location::of(site),
            wait: site.wait,
        };
        if wanted(&info) {
            by_name.entry(site.name).or_default().push(site);
        }
    }
    for sites in by_name.values_mut() {
        sites.sort_by_key(|site| (site.file, site.line, site.column));
        for site in &*sites {
            one_site(inner, site, faults);
        }
        for other in &sites[1..] {
            same_name(sites[0], other, faults);
        }
    }
}

fn one_site(inner: &Arc<Inner>, site: &'static Site, faults: &mut Faults) {
    let change = inner.overrides.get(site.name);
    let redirected = change.and_then(Override::backend_name).is_some();
    if let Some(name) = site.backend.filter(|_| !redirected)
        && !inner.backends.contains_key(name)
    {
        faults.add_site(site, unknown("backend", name, inner.backends.keys()));
        return;
    }
    let resolved = inner.resolve_site(site, 0);
    for fault in burst_of(change, site.algorithm, site.dynamic) {
        faults.add_site(site, fault);
    }
    if let Some(error) = &resolved.fault {
        // An override or a default that names no backend was said already, once for all.
        let named = change.and_then(Override::backend_name).or(site.backend);
        let said = named.or(inner.default_backend.as_deref());
        if resolved.entry.is_some() || said.is_none_or(|name| inner.backends.contains_key(name)) {
            faults.add_site(site, about(error));
        }
        return;
    }
    let known: &[Limits] = if resolved.dynamic {
        site.limits
    } else {
        core::slice::from_ref(resolved.policy.limits())
    };
    for limits in known {
        one_set_of_limits(&resolved, site, limits, faults);
    }
}

/// A set of limits that may hold at a call.
fn one_set_of_limits(resolved: &Resolved, site: &Site, limits: &Limits, faults: &mut Faults) {
    if let Some(entry) = &resolved.entry
        && let Some(refused) = entry.backend.capabilities().refuse(site.algorithm, limits)
    {
        let name = &entry.name;
        faults.add_site(
            site,
            format!("backend `{name}` cannot decide {limits}: {refused}"),
        );
    }
    let capacity = limits.capacity(site.algorithm);
    if let Some(cost) = site.cost.filter(|cost| *cost > capacity) {
        let message =
            format!("its cost of {cost} can never fit {limits}: at most {capacity} at once");
        faults.add_site(site, message);
    }
}

fn same_name(first: &Site, other: &Site, faults: &mut Faults) {
    let first_at = Location::of(first);
    if !first.named || !other.named {
        faults.add_site(
            other,
            format!(
                "its name, made from the function's path, is also that of {first_at}; give \
                 each a name of its own with `name = \"…\"`, or both the same to share one budget"
            ),
        );
    } else if !first.agrees_with(other) {
        faults.add_site(
            other,
            format!(
                "it shares its name, and so its budget, with {first_at}, but their rates, \
                 algorithms, backends, modes or postures differ, or one of them has no key"
            ),
        );
    }
}

fn about(error: &Error) -> String {
    match error.backend() {
        Some(backend) => format!("backend `{backend}` cannot decide it: {}", error.message()),
        None => error.message().to_owned(),
    }
}
