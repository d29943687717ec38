//! [`Builder`]: how a registry is made.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use ratelimit_backends::memory::MemoryBackend;
use ratelimit_core::{Backend, Clock, MonotonicClock, OnError, Policy};

use super::failures::FailureLog;
use super::faults::{Faults, unknown};
use super::validate::{self, SiteInfo};
use crate::wait::Queues;

use super::{Entry, Inner, InstallError, Override, Registry, global};

/// Which sites are validated.
type SiteFilter = Box<dyn Fn(&SiteInfo) -> bool + Send + Sync>;

/// How long a blocking caller waits for a backend that decides elsewhere.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(1);

/// How many calls of one policy and key may wait at once.
const MAX_WAITERS: usize = 1_024;

/// The name of the backend that is there when none is registered.
const MEMORY: &str = "memory";

/// Makes a [`Registry`].
///
/// Faults are kept until [`install`](Self::install) or [`build`](Self::build), which report all of
/// them at once.
#[must_use]
pub struct Builder {
    backends: Vec<(String, Arc<dyn Backend>)>,
    default_backend: Option<String>,
    overrides: Vec<(String, Override)>,
    policies: Vec<Policy>,
    sites: Option<SiteFilter>,
    on_error: OnError,
    blocking_timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
    max_waiters: usize,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            backends: Vec::new(),
            default_backend: None,
            overrides: Vec::new(),
            policies: Vec::new(),
            sites: None,
            on_error: OnError::Closed,
            blocking_timeout: BLOCKING_TIMEOUT,
            clock: None,
            max_waiters: MAX_WAITERS,
        }
    }

    /// Registers a backend under a name that attributes can use. An `Arc` of a backend is one,
    /// too.
    ///
    /// Where none is registered, there is a [`MemoryBackend`] called `memory`.
    pub fn backend(mut self, name: impl Into<String>, backend: impl Backend) -> Self {
        self.backends.push((name.into(), Arc::new(backend)));
        self
    }

    /// The backend of the attributes that name none. A single backend is the default by itself.
    pub fn default_backend(mut self, name: impl Into<String>) -> Self {
        self.default_backend = Some(name.into());
        self
    }

    /// Changes what an attribute, or a policy of the plain API, says.
    pub fn override_policy(mut self, policy: impl Into<String>, change: Override) -> Self {
        self.overrides.push((policy.into(), change));
        self
    }

    /// Tells of a policy that is used through the plain API alone, so that it is validated, listed,
    /// and known to overrides.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// What happens when a backend fails, where neither the attribute nor an override says so.
    /// Default: [`OnError::Closed`].
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// How long a caller that blocks waits for a backend that decides elsewhere before it is
    /// answered with a timeout. Default: one second.
    pub fn blocking_timeout(mut self, timeout: Duration) -> Self {
        self.blocking_timeout = timeout;
        self
    }

    /// How many calls of one policy and key may wait for a place at once (`wait`); one more is
    /// rejected at once. Default: 1,024. Zero lets none wait.
    ///
    /// It does not concern `leaky_bucket`, whose bucket is the queue and is bounded by its burst.
    pub fn max_waiters(mut self, max_waiters: usize) -> Self {
        self.max_waiters = max_waiters;
        self
    }

    /// The clock that calls follow which wait for a place, and what decides under
    /// [`OnError::Local`]; a [`MonotonicClock`] unless said otherwise. A [test scope](crate::testing)
    /// gives its own. (What a backend decides follows the backend's clock.)
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The clock, where none was given.
    pub(crate) fn clock_unless_given(self, clock: impl Clock) -> Self {
        if self.clock.is_some() {
            self
        } else {
            self.clock(clock)
        }
    }

    /// Validates only some of the annotated functions, in a binary that uses others under another
    /// registry, as tests do. All are validated unless this is called.
    pub fn sites(mut self, filter: impl Fn(&SiteInfo) -> bool + Send + Sync + 'static) -> Self {
        self.sites = Some(Box::new(filter));
        self
    }

    /// Validates every annotated function of this binary, and makes the registry the global one.
    ///
    /// # Errors
    ///
    /// Every fault at once, each with the file and line of the attribute; or that a registry was
    /// installed before. Nothing is installed then.
    pub fn install(self) -> Result<Registry, InstallError> {
        global::may_install()?;
        global::install(self.validated(true)?)
    }

    /// Makes a registry that is not the global one, for the plain API. Annotated functions are not
    /// validated: they do not use it.
    ///
    /// # Errors
    ///
    /// Every fault at once.
    pub fn build(self) -> Result<Registry, InstallError> {
        self.validated(false)
    }

    /// The registry of a process that installs none.
    pub(super) fn implicit(self, backend: MemoryBackend) -> Registry {
        let builder = self.backend(MEMORY, backend);
        Registry(Arc::new(builder.assemble(&mut Faults::default())))
    }

    /// A registry for tests, in which every name stands for the one backend.
    pub(crate) fn for_any_name(self, backend: impl Backend) -> Registry {
        let builder = self.backend(MEMORY, backend);
        let mut inner = builder.assemble(&mut Faults::default());
        inner.any_name = true;
        Registry(Arc::new(inner))
    }

    fn validated(mut self, with_sites: bool) -> Result<Registry, InstallError> {
        if self.backends.is_empty() {
            self = self.backend(MEMORY, MemoryBackend::new());
        }
        let filter = self.sites.take();
        let mut faults = Faults::default();
        let inner = Arc::new(self.assemble(&mut faults));
        validate::policies(&inner, &mut faults);
        if with_sites {
            let wanted = |site: &SiteInfo| filter.as_ref().is_none_or(|filter| filter(site));
            validate::sites(&inner, wanted, &mut faults);
        }
        faults.into_result().map(|()| Registry(inner))
    }

    /// Puts everything in its place and notes what does not fit.
    fn assemble(self, faults: &mut Faults) -> Inner {
        let mut backends = BTreeMap::new();
        for (name, backend) in self.backends {
            if name.is_empty() {
                faults.add("a backend is registered under an empty name");
            }
            if backends
                .insert(name.clone(), Entry::new(name.clone(), backend))
                .is_some()
            {
                faults.add(format!("two backends are registered as `{name}`"));
            }
        }
        let default_backend = match self.default_backend {
            Some(name) => {
                if !backends.contains_key(&name) {
                    let unknown = unknown("default backend", &name, backends.keys());
                    faults.add(unknown);
                }
                Some(name)
            }
            None if backends.len() == 1 => backends.keys().next().cloned(),
            None => None,
        };
        if self.blocking_timeout.is_zero() {
            faults.add("a blocking timeout of zero answers nobody; it must be longer");
        }
        let mut overrides = HashMap::new();
        for (policy, change) in self.overrides {
            if overrides.insert(policy.clone(), change).is_some() {
                faults.add(format!("policy `{policy}` is overridden twice"));
            }
        }
        Inner {
            backends,
            default_backend,
            overrides,
            policies: self.policies,
            on_error: self.on_error,
            blocking_timeout: self.blocking_timeout,
            clock: self
                .clock
                .unwrap_or_else(|| Arc::new(MonotonicClock::new())),
            queues: Queues::new(self.max_waiters),
            any_name: false,
            local: OnceLock::new(),
            misuses: FailureLog::new(),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field(
                "backends",
                &self
                    .backends
                    .iter()
                    .map(|(name, _)| name)
                    .collect::<Vec<_>>(),
            )
            .field("default_backend", &self.default_backend)
            .field("overrides", &self.overrides)
            .field("policies", &self.policies)
            .field("on_error", &self.on_error)
            .finish_non_exhaustive()
    }
}
