//! [`Policy`]: a name, an algorithm and one to four rates.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

mod identity;

use crate::algorithm::Algorithm;
use crate::limits::Limits;
use crate::rate::Rate;

pub use identity::Identity;

/// What is done with a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// A denied call does not run.
    #[default]
    Enforce,
    /// Decided, charged, counted and logged as ever, but every call runs.
    Shadow,
    /// Nobody is asked, and every call runs.
    Off,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Shadow, Self::Off];

    /// The name, as `mode = "…"` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// What happens to a call when the backend fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// It is rejected as `Unavailable`.
    #[default]
    Closed,
    /// It runs, unlimited.
    Open,
    /// This process's memory decides.
    Local,
}

impl OnError {
    /// Every posture.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::Local];

    /// The name, as `on_error = "…"` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Local => "local",
        }
    }
}

/// A text that is none of the names that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    found: String,
    what: &'static str,
    allowed: &'static str,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown {} {:?}; expected {}",
            self.what, self.found, self.allowed
        )
    }
}

impl core::error::Error for UnknownName {}

macro_rules! named {
    ($type:ty, $what:literal, $allowed:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL
                    .into_iter()
                    .find(|known| known.name() == name)
                    .ok_or_else(|| UnknownName {
                        found: name.to_owned(),
                        what: $what,
                        allowed: $allowed,
                    })
            }
        }
    };
}

named!(Mode, "mode", "enforce, shadow or off");
named!(OnError, "on_error", "closed, open or local");

/// What a function is limited by: a name, an algorithm, one to four rates, and how strictly.
///
/// The name is the identity of the budget: two policies of one name and algorithm share it.
///
/// ```
/// use ratelimit_core::{Algorithm, Mode, Policy, Rate};
///
/// const RATE: Rate = match Rate::parse("30/m") {
///     Ok(rate) => rate,
///     Err(_) => panic!("not a rate"),
/// };
/// static SEARCH: Policy = Policy::new("search", Algorithm::SlidingWindow, RATE).with_mode(Mode::Shadow);
/// assert_eq!(SEARCH.to_string(), "search: sliding_window 30/m (shadow)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: Cow<'static, str>,
    /// Of the name and the algorithm.
    identity: Identity,
    algorithm: Algorithm,
    limits: Limits,
    mode: Mode,
    on_error: Option<OnError>,
}

impl Policy {
    /// A policy of one rate, enforced.
    pub const fn new(name: &'static str, algorithm: Algorithm, rate: Rate) -> Self {
        let limits = Limits::new(crate::limits::Limit::new(rate));
        Self::named(Cow::Borrowed(name), algorithm, limits)
    }

    /// A policy whose name is not known while compiling, or with several rates.
    pub const fn named(name: Cow<'static, str>, algorithm: Algorithm, limits: Limits) -> Self {
        let identity = match &name {
            Cow::Borrowed(name) => Identity::of(name, algorithm),
            Cow::Owned(name) => Identity::of(name.as_str(), algorithm),
        };
        Self {
            name,
            identity,
            algorithm,
            limits,
            mode: Mode::Enforce,
            on_error: None,
        }
    }

    /// The same with other limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same in another mode.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The same with a posture of its own for when the backend fails.
    #[must_use]
    pub const fn with_on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands for the name and the algorithm: two policies that have both in common, and no
    /// others, are known by it.
    #[inline]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// The algorithm.
    #[inline]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The limits, unless a call brings its own.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How strictly the policy is applied.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What happens when the backend fails, where the policy says so.
    pub const fn on_error(&self) -> Option<OnError> {
        self.on_error
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.name, self.algorithm, self.limits)?;
        match self.mode {
            Mode::Enforce => Ok(()),
            mode => write!(f, " ({mode})"),
        }
    }
}
