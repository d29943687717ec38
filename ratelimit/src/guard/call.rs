//! [`Call`]: one guarded call, evaluated to owned values.

use ratelimit_core::{Error, ErrorKind, Key, KeyBuf, Limits};

use super::convert::{IntoBurst, IntoCost, IntoLimits};
use crate::registry::Question;
use crate::request::{RequestContext, Source};
use crate::{Rejection, registry::Keyed};

/// What one call of a guarded function asks, made by generated code before anything is decided. It
/// borrows nothing, so that it can be held over an await.
#[derive(Debug)]
pub struct Call {
    skipped: bool,
    key: KeyBuf,
    /// The source that had no key.
    missing: Option<&'static str>,
    cost: i128,
    limits: Option<Limits>,
    fault: Option<Error>,
}

impl Call {
    /// A call without a key: one bucket for the whole policy.
    pub fn new() -> Self {
        Self {
            skipped: false,
            key: KeyBuf::new(),
            missing: None,
            cost: 1,
            limits: None,
            fault: None,
        }
    }

    /// A call that is not to be limited.
    pub fn skipped() -> Self {
        Self {
            skipped: true,
            ..Self::new()
        }
    }

    /// A call with a key.
    pub fn keyed<K: Key + ?Sized>(key: &K) -> Self {
        Self {
            key: KeyBuf::of(key),
            ..Self::new()
        }
    }

    /// A call whose key is in one of these requests.
    pub fn from_source(source: Source, contexts: &[Option<&dyn RequestContext>]) -> Self {
        match source.read(contexts) {
            Ok(key) => Self { key, ..Self::new() },
            Err(Rejection::MissingKey { wanted }) => Self {
                missing: Some(wanted),
                ..Self::new()
            },
            Err(_) => Self {
                missing: Some(source.name()),
                ..Self::new()
            },
        }
    }

    /// How many units it takes.
    pub fn cost(self, cost: impl IntoCost) -> Self {
        Self {
            cost: cost.into_cost(),
            ..self
        }
    }

    /// The limits that hold for it.
    pub fn limits(self, limits: impl IntoLimits) -> Self {
        Self {
            limits: Some(limits.into_limits()),
            ..self
        }
    }

    /// The bursts of its limits.
    pub fn burst(mut self, burst: impl IntoBurst) -> Self {
        if let Some(limits) = &self.limits {
            match burst.into_bursts().apply(limits) {
                Ok(limits) => self.limits = Some(limits),
                Err(message) => self.fault = Some(Error::new(ErrorKind::Configuration, message)),
            }
        }
        self
    }

    pub(super) fn is_skipped(&self) -> bool {
        self.skipped
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question {
            key: self
                .missing
                .map_or(Keyed::Key(self.key.as_ref()), Keyed::Missing),
            cost: self.cost,
            limits: self.limits.as_ref(),
            fault: self.fault.as_ref(),
        }
    }
}

impl Default for Call {
    fn default() -> Self {
        Self::new()
    }
}
