//! [`Registry`]: the named backends of a process, its defaults and its overrides.
//!
//! - `builder`: how one is made.
//! - `overrides`: what the operator changes.
//! - `validate`: every fault of every site, at once; `faults`: how they are said.
//! - `plan`: how one question is asked and answered, whoever asks.
//! - `ask`: the plain API; `batch`: several of its questions at once.
//! - `global`: which registry a guarded function uses.

mod ask;
mod batch;
mod builder;
pub(crate) mod failures;
mod faults;
pub(crate) mod global;
mod overrides;
mod plan;
mod validate;

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use ratelimit_backends::memory::MemoryBackend;
use ratelimit_core::rate::MAX_WAIT;
use ratelimit_core::{
    Algorithm, Backend, BoxFuture, Clock, Decision, Error, ErrorKind, Limits, Mode, OnError,
    Policy, Source,
};

use crate::bridge;
use crate::site::{Site, collected};
use crate::wait::{self, Queues};
use failures::FailureLog;

pub use ask::Ask;
pub use builder::Builder;
pub use faults::{Fault, InstallError, Location};
pub use overrides::Override;
pub(crate) use plan::{Keyed, Plan, Question, Resolved, decide_owned, single};
pub use validate::SiteInfo;

/// The named backends of a process, its default backend, and the overrides of its policies.
///
/// One registry is global: [`Builder::install`] makes it so, after it has checked every annotated
/// function of the binary. Clones are the same registry.
///
/// ```standalone_crate
/// use ratelimit::{MemoryBackend, Registry};
///
/// fn main() -> Result<(), ratelimit::InstallError> {
///     Registry::builder()
///         .backend("memory", MemoryBackend::new())
///         .default_backend("memory")
///         .install()?;
///     Ok(())
/// }
/// ```
///
/// Everything that the attribute does is here as functions, too:
///
/// ```
/// use ratelimit::{Algorithm, MemoryBackend, Policy, Registry, Rejection, rate};
///
/// static SEARCH: Policy = Policy::new("search", Algorithm::SlidingWindow, rate!("2/m"));
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder().backend("memory", MemoryBackend::new()).build()?;
/// assert_eq!(registry.check_blocking(&SEARCH, "alice")?.remaining(), 1);
/// assert_eq!(registry.check_blocking(&SEARCH, "alice")?.remaining(), 0);
/// assert!(matches!(registry.check_blocking(&SEARCH, "alice"), Err(Rejection::Limited(_))));
/// assert!(registry.check_blocking(&SEARCH, "bob").is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

/// A registered backend.
pub(crate) struct Entry {
    name: String,
    backend: Arc<dyn Backend>,
    /// The backend for callers that block, once one did.
    bridged: OnceLock<Arc<dyn Backend>>,
    failures: FailureLog,
}

impl Entry {
    fn new(name: String, backend: Arc<dyn Backend>) -> Arc<Self> {
        let failures = FailureLog::new();
        Arc::new(Self {
            name,
            backend,
            bridged: OnceLock::new(),
            failures,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(crate) fn bridged(&self) -> &Arc<dyn Backend> {
        self.bridged.get_or_init(|| {
            self.backend
                .bridged()
                .unwrap_or_else(|| Arc::clone(&self.backend))
        })
    }
}

pub(crate) struct Inner {
    backends: BTreeMap<String, Arc<Entry>>,
    default_backend: Option<String>,
    overrides: HashMap<String, Override>,
    /// Policies that are used through the plain API alone.
    policies: Vec<Policy>,
    on_error: OnError,
    blocking_timeout: Duration,
    /// What those who wait follow, and what decides when a backend failed.
    clock: Arc<dyn Clock>,
    /// Those who wait.
    queues: Queues,
    /// Every name stands for the default backend: for tests.
    any_name: bool,
    /// What decides when a backend fails and the posture is `local`.
    local: OnceLock<MemoryBackend>,
    /// What is wrong with the program, and seen at run time alone.
    misuses: FailureLog,
}

/// One policy that is guarded, as [`Registry::policies`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyInfo {
    /// The name.
    pub name: String,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The limits after overrides; `None` where each call brings its own.
    pub limits: Option<Limits>,
    /// The backend that decides.
    pub backend: Option<String>,
    /// How strictly it is applied.
    pub mode: Mode,
    /// What happens when the backend fails.
    pub on_error: OnError,
    /// How long its calls wait for a place before they are rejected: the longest, where attributes
    /// differ; `None` where none waits. What a single question of the plain API says is not known.
    pub wait: Option<Duration>,
    /// How the key was written; `None` where the policy has one bucket.
    pub key: Option<&'static str>,
    /// Where each attribute is; none for a policy of the plain API.
    pub sites: Vec<Location>,
}

impl Registry {
    /// Starts a registry.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The registry that guarded functions use here and now: the innermost
    /// [test scope](crate::testing::scope)'s, else the one that was installed, else one with an
    /// in-process memory backend.
    pub fn current() -> Self {
        global::current()
    }

    /// The names of the backends, in order.
    pub fn backends(&self) -> impl Iterator<Item = &str> {
        self.0.backends.keys().map(String::as_str)
    }

    /// The backend of that name.
    pub fn backend(&self, name: &str) -> Option<&Arc<dyn Backend>> {
        self.0.backends.get(name).map(|entry| &entry.backend)
    }

    /// How many calls wait for a place in a queue of this process now. Those of a `leaky_bucket`,
    /// whose place is in the bucket, are not among them.
    pub fn waiters(&self) -> usize {
        self.0.queues.waiting()
    }

    /// What is guarded: the policy of every annotated function of this binary and every policy
    /// that the builder was told of, by name.
    pub fn policies(&self) -> Vec<PolicyInfo> {
        let mut policies = BTreeMap::<String, PolicyInfo>::new();
        for policy in &self.0.policies {
            let info = Inner::info(&self.0.resolve(policy, None, None, false, None, 0));
            policies.insert(info.name.clone(), info);
        }
        for site in collected() {
            let resolved = Inner::info(&self.0.resolve_site(site, 0));
            let wait = resolved.wait;
            let info = policies.entry(resolved.name.clone()).or_insert(PolicyInfo {
                key: site.key,
                ..resolved
            });
            info.wait = info.wait.max(wait);
            info.sites.push(Location::of(site));
        }
        policies.into_values().collect()
    }
}

impl Inner {
    /// The backend of that name, or the default one.
    fn entry(&self, name: Option<&str>) -> Result<&Arc<Entry>, Error> {
        let name = if self.any_name { None } else { name };
        let found = match name.or(self.default_backend.as_deref()) {
            Some(name) => self.backends.get(name).ok_or_else(|| {
                let registered = faults::list(self.backends.keys());
                format!("no backend `{name}` is registered; registered: {registered}")
            }),
            None => Err("several backends are registered, and none is the default".to_owned()),
        };
        found.map_err(|message| Error::new(ErrorKind::Configuration, message))
    }

    fn resolve_site(self: &Arc<Self>, site: &'static Site, stamp: u64) -> Resolved {
        let known = if site.dynamic {
            None
        } else {
            site.limits.first()
        };
        let policy = site.policy();
        let resolved = self.resolve(&policy, known, site.backend, site.dynamic, site.wait, stamp);
        Resolved {
            site: Some(site),
            ..resolved
        }
    }

    /// Puts a policy, its override and its backend together.
    fn resolve(
        self: &Arc<Self>,
        policy: &Policy,
        known: Option<&Limits>,
        backend: Option<&str>,
        dynamic: bool,
        wait: Option<Duration>,
        stamp: u64,
    ) -> Resolved {
        let change = self.overrides.get(policy.name());
        let backend = change.and_then(Override::backend_name).or(backend);
        let mut policy = policy.clone();
        if let Some(mode) = change.and_then(Override::new_mode) {
            policy = policy.with_mode(mode);
        }
        let forced = change.and_then(|change| change.limits_of(known.unwrap_or(policy.limits())));
        let (forced, mut fault) = match forced {
            None => (None, None),
            Some(Ok(limits)) => (Some(limits), None),
            Some(Err(fault)) => (
                None,
                Some(Error::new(ErrorKind::Configuration, fault.to_string())),
            ),
        };
        let entry = match self.entry(backend) {
            Ok(entry) => Some(Arc::clone(entry)),
            Err(error) => {
                fault = fault.or(Some(error));
                None
            }
        };
        if let Some(limits) = forced {
            policy = policy.with_limits(limits);
        }
        let on_error = change
            .and_then(Override::new_on_error)
            .or(policy.on_error())
            .unwrap_or(self.on_error);
        let dynamic = dynamic && forced.is_none();
        if let (false, Some(entry)) = (dynamic, &entry) {
            let refused = entry
                .backend
                .capabilities()
                .refuse(policy.algorithm(), policy.limits());
            fault = fault
                .or(refused.map(|refused| Error::from(refused).with_backend(entry.name.clone())));
        }
        let wait = change.and_then(Override::new_wait).or(wait);
        // In shadow mode every call runs, and waiting would change what the program does.
        let wait = wait.filter(|_| policy.mode() == Mode::Enforce);
        let wait = wait.unwrap_or_default();
        if let (false, Some(entry)) = (wait.is_zero(), &entry) {
            fault = fault.or(wait::refuse(entry, policy.algorithm()));
        }
        if wait > MAX_WAIT {
            let message = format!("a wait of {wait:?} is too long: at most one hour");
            fault = fault.or(Some(Error::new(ErrorKind::Configuration, message)));
        }
        Resolved {
            registry: Arc::clone(self),
            entry,
            policy,
            dynamic,
            on_error,
            wait,
            site: None,
            fault,
            stamp,
        }
    }

    fn info(resolved: &Resolved) -> PolicyInfo {
        PolicyInfo {
            name: resolved.policy.name().to_owned(),
            algorithm: resolved.policy.algorithm(),
            limits: (!resolved.dynamic).then(|| *resolved.policy.limits()),
            backend: resolved.entry.as_ref().map(|entry| entry.name.clone()),
            mode: resolved.policy.mode(),
            on_error: resolved.on_error,
            wait: Some(resolved.wait).filter(|wait| !wait.is_zero()),
            key: None,
            sites: Vec::new(),
        }
    }

    fn local(&self) -> &MemoryBackend {
        self.local.get_or_init(|| {
            let clock = Arc::clone(&self.clock);
            MemoryBackend::builder().clock(clock).build()
        })
    }

    /// What those who wait follow.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Those who wait.
    pub(crate) fn queues(&self) -> &Queues {
        &self.queues
    }

    /// How long a caller that blocks waits for a backend.
    pub(crate) fn blocking_timeout(&self) -> Duration {
        self.blocking_timeout
    }

    /// Does something with a backend on behalf of a caller that blocks.
    fn block<'a, T>(
        &self,
        entry: &'a Entry,
        work: impl FnOnce(&'a dyn Backend) -> BoxFuture<'a, T>,
    ) -> Result<T, Error> {
        let backend = &**entry.bridged();
        let answer = if backend.capabilities().immediate {
            bridge::poll_now(work(backend))
        } else {
            bridge::run(self.blocking_timeout, || work(backend))
        };
        answer.map_err(|error| error.with_backend(entry.name.clone()))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("backends", &self.backends().collect::<Vec<_>>())
            .field("default_backend", &self.0.default_backend)
            .field("overrides", &self.0.overrides)
            .finish_non_exhaustive()
    }
}

/// A decision that nobody was asked for.
fn unlimited() -> Decision {
    Decision::unlimited(Source::Unlimited)
}
