//! [`Site`]: the static that an annotated function owns.

use core::fmt;
use core::time::Duration;

use arc_swap::ArcSwapOption;
use ratelimit_core::{Algorithm, Limit, Limits, Mode, OnError, Policy, Rate};

use crate::registry::Resolved;
use crate::registry::failures::FailureLog;

/// What the macro knows of an annotated function, and what was last made of it.
pub struct Site {
    pub(crate) name: &'static str,
    /// The name was given, not made from the function's path.
    pub(crate) named: bool,
    pub(crate) algorithm: Algorithm,
    /// Every set of limits that is known while compiling; with several, each call says which.
    pub(crate) limits: &'static [Limits],
    /// The limits are evaluated at each call.
    pub(crate) dynamic: bool,
    pub(crate) backend: Option<&'static str>,
    pub(crate) cost: Option<u32>,
    pub(crate) wait: Option<Duration>,
    pub(crate) mode: Mode,
    pub(crate) on_error: Option<OnError>,
    pub(crate) key: Option<&'static str>,
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) resolved: ArcSwapOption<Resolved>,
    /// What is wrong with it, and seen at run time alone.
    pub(crate) misuses: FailureLog,
}

/// A site as the linker collects it.
#[derive(Debug)]
pub struct Collected(pub &'static Site);

inventory::collect!(Collected);

/// The sites of this binary.
pub(crate) fn collected() -> impl Iterator<Item = &'static Site> {
    inventory::iter::<Collected>
        .into_iter()
        .map(|collected| collected.0)
}

impl Site {
    /// A site with a defaulted name and no limits yet.
    pub const fn new(name: &'static str, algorithm: Algorithm) -> Self {
        Self {
            name,
            named: false,
            algorithm,
            limits: &[],
            dynamic: false,
            backend: None,
            cost: None,
            wait: None,
            mode: Mode::Enforce,
            on_error: None,
            key: None,
            file: "",
            line: 0,
            column: 0,
            resolved: ArcSwapOption::const_empty(),
            misuses: FailureLog::new(),
        }
    }

    /// The name was given.
    pub const fn named(mut self) -> Self {
        self.named = true;
        self
    }

    /// The limits that are known while compiling.
    pub const fn limits(mut self, limits: &'static [Limits]) -> Self {
        self.limits = limits;
        self
    }

    /// Each call brings its limits.
    pub const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// The backend that was named.
    pub const fn backend(mut self, name: &'static str) -> Self {
        self.backend = Some(name);
        self
    }

    /// The cost, where it is a literal.
    pub const fn cost(mut self, cost: u32) -> Self {
        self.cost = Some(cost);
        self
    }

    /// How long a call waits for its place.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// The mode.
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The posture.
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }

    /// How the key was written.
    pub const fn key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// Where the attribute stands.
    pub const fn at(mut self, file: &'static str, line: u32, column: u32) -> Self {
        self.file = file;
        self.line = line;
        self.column = column;
        self
    }

    /// The policy of this site, before overrides.
    pub(crate) fn policy(&self) -> Policy {
        let limits = self.limits.first().copied().unwrap_or(PLACEHOLDER);
        let policy = Policy::named(self.name.into(), self.algorithm, limits).with_mode(self.mode);
        match self.on_error {
            Some(on_error) => policy.with_on_error(on_error),
            None => policy,
        }
    }

    /// Whether the two say the same of the budget that they share.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm
            && self.dynamic == other.dynamic
            && self.limits == other.limits
            && self.backend == other.backend
            && self.mode == other.mode
            && self.on_error == other.on_error
            && self.key.is_some() == other.key.is_some()
    }
}

/// Stands for the limits of a policy whose calls all bring their own.
const PLACEHOLDER: Limits = match Rate::parse("1/s") {
    Ok(rate) => Limits::new(Limit::new(rate)),
    Err(_) => unreachable!(),
};

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Site({} at {}:{}:{})",
            self.name, self.file, self.line, self.column
        )
    }
}
