//! What a [`Plan`] means, worked out once more from the descriptions of the builder and of overrides:
//! which faults it has, and what holds for a policy.

use ratelimit::{Algorithm, Capabilities, Limits, Mode, OnError, Policy};

use super::plan::{Change, Plan, Store};

/// Of an annotated function, what the builder compares policies with.
pub(super) struct Annotated {
    pub(super) policy: Policy,
    pub(super) backend: Option<&'static str>,
}

/// What holds for the calls of a policy.
pub(super) struct Holds<'p> {
    pub(super) limits: Limits,
    pub(super) mode: Mode,
    pub(super) on_error: OnError,
    /// The name of the backend that decides, where there is one.
    pub(super) backend: Option<String>,
    pub(super) store: Option<&'p Store>,
    /// What of the message must be there, where the policy cannot be used.
    pub(super) fault: Option<String>,
}

/// What there is where no backend is registered; it has a clock of its own.
const IMPLICIT: &str = "memory";

impl Plan {
    /// Whether everything that decides follows the test's clock.
    pub(super) fn is_on_the_clock(&self) -> bool {
        !self.backends.is_empty()
    }

    /// The last override of that name.
    fn change(&self, policy: &str) -> Option<&Change> {
        let mut changes = self.overrides.iter().rev();
        changes
            .find(|(name, _)| name == policy)
            .map(|(_, change)| change)
    }

    fn has_backend(&self, name: &str) -> bool {
        self.store(name).is_some() || (self.backends.is_empty() && name == IMPLICIT)
    }

    fn store(&self, name: &str) -> Option<&Store> {
        let mut backends = self.backends.iter().rev();
        backends
            .find(|(known, _)| known == name)
            .map(|(_, store)| store)
    }

    fn default_name(&self) -> Option<&str> {
        let single = match &*self.backends {
            [] => Some(IMPLICIT),
            [(first, _), rest @ ..] => rest
                .iter()
                .all(|(name, _)| name == first)
                .then_some(&**first),
        };
        self.default_backend.as_deref().or(single)
    }

    /// What holds for a policy that names this backend, or none.
    pub(super) fn holds(&self, policy: &Policy, backend: Option<&str>) -> Holds<'_> {
        let change = self.change(policy.name()).cloned().unwrap_or_default();
        let wanted = change
            .backend
            .as_deref()
            .or(backend)
            .or(self.default_name());
        let wanted = wanted.map(str::to_owned);
        let found = wanted.as_deref().is_some_and(|name| self.has_backend(name));
        let store = wanted.as_deref().and_then(|name| self.store(name));

        let rates = change.limits.unwrap_or(*policy.limits());
        let (limits, mut fault) = match change.burst.map(|burst| rates.with_bursts(&[burst])) {
            None => (rates, None),
            Some(Ok(limits)) => (limits, None),
            // Nothing of such an override holds.
            Some(Err(fault)) => (*policy.limits(), Some(fault.to_string())),
        };
        if !found && fault.is_none() {
            fault = Some(match &wanted {
                Some(name) => format!("`{name}`"),
                None => "none is the default".to_owned(),
            });
        }
        if fault.is_none() {
            fault = refusal(store, policy.algorithm(), &limits);
        }
        Holds {
            limits,
            mode: change.mode.unwrap_or(policy.mode()),
            on_error: change
                .on_error
                .or(policy.on_error())
                .unwrap_or(self.on_error),
            backend: wanted.filter(|_| found),
            store,
            fault,
        }
    }

    /// Every fault that must be told, as the parts that must stand together in one line. There are
    /// no faults exactly where this is empty.
    pub(super) fn faults(&self, annotated: &[Annotated]) -> Vec<Vec<String>> {
        let mut faults = Vec::new();
        let mut tell =
            |parts: &[&str]| faults.push(parts.iter().map(ToString::to_string).collect());
        for (index, (name, _)) in self.backends.iter().enumerate() {
            if name.is_empty() {
                tell(&["an empty name"]);
            }
            if self.backends[..index]
                .iter()
                .any(|(earlier, _)| earlier == name)
            {
                tell(&["two backends", &format!("`{name}`")]);
            }
        }
        let unknown_default = self
            .default_backend
            .as_deref()
            .filter(|name| !self.has_backend(name));
        if let Some(name) = unknown_default {
            tell(&["unknown default backend", &format!("`{name}`")]);
        }
        if self
            .blocking_timeout
            .is_some_and(|timeout| timeout.is_zero())
        {
            tell(&["timeout of zero"]);
        }
        for (index, (name, _)) in self.overrides.iter().enumerate() {
            let quoted = format!("`{name}`");
            if self.overrides[..index]
                .iter()
                .any(|(earlier, _)| earlier == name)
            {
                tell(&[&quoted, "overridden twice"]);
            }
            let mut known = self
                .policies
                .iter()
                .chain(annotated.iter().map(|site| &site.policy));
            if !known.any(|policy| policy.name() == name) {
                tell(&["unknown policy", &quoted]);
            }
            let backend = self
                .change(name)
                .and_then(|change| change.backend.as_deref());
            if let Some(backend) = backend.filter(|backend| !self.has_backend(backend)) {
                tell(&[&quoted, "unknown backend", &format!("`{backend}`")]);
            }
        }
        for (index, policy) in self.policies.iter().enumerate() {
            let quoted = format!("policy `{}`", policy.name());
            let mut earlier = self.policies[..index].iter();
            if let Some(namesake) = earlier.find(|earlier| earlier.name() == policy.name()) {
                if namesake != policy {
                    tell(&[&quoted, "differ"]);
                }
                continue;
            }
            let algorithm = format!("`{}`", policy.algorithm());
            let change = self.change(policy.name()).cloned().unwrap_or_default();
            if !policy.algorithm().is_bucket() {
                if policy.limits().has_burst() {
                    tell(&[&quoted, "it has a burst", &algorithm]);
                }
                if change.burst.is_some() || change.limits.is_some_and(|limits| limits.has_burst())
                {
                    tell(&[&quoted, "override has a burst", &algorithm]);
                }
            }
            let holds = self.holds(policy, None);
            if let Some(fault) = &holds.fault
                && (unknown_default.is_none() || holds.backend.is_some())
            {
                tell(&[&quoted, fault]);
            }
            let namesake = annotated
                .iter()
                .find(|site| site.policy.name() == policy.name());
            if let Some(Annotated { policy: other, .. }) = namesake
                && (other.algorithm() != policy.algorithm() || other.limits() != policy.limits())
            {
                tell(&[&quoted, "plain API"]);
            }
        }
        faults
    }
}

/// What a backend that cannot decide such limits must name.
fn refusal(store: Option<&Store>, algorithm: Algorithm, limits: &Limits) -> Option<String> {
    let capabilities = match store {
        Some(Store::Broken(broken)) => broken.capabilities.clone(),
        Some(Store::Memory { max_log, .. }) => {
            Capabilities::new(ratelimit::AlgorithmSet::ALL).with_max_log(*max_log)
        }
        None => Capabilities::new(ratelimit::AlgorithmSet::ALL),
    };
    if !capabilities.algorithms.contains(algorithm) {
        return Some(format!("it has no `{algorithm}`"));
    }
    limits.as_slice().iter().find_map(|limit| {
        let (units, period) = (limit.rate().limit(), limit.rate().period().as_nanos());
        if algorithm == Algorithm::SlidingWindow && units > capabilities.max_log {
            return Some(format!(
                "holds {} entries, not {units}",
                capabilities.max_log
            ));
        }
        // A bucket gives a unit every period / units, which may end between two ticks.
        let shortest = match algorithm.is_bucket() {
            true => period.div_ceil(units.into()),
            false => period,
        };
        let too_coarse = capabilities.resolution.as_nanos() > shortest;
        too_coarse.then(|| format!("longer than {}", limit.rate()))
    })
}
