//! [`Template`]: a command that is the same for all checks that differ in their keys alone, made once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mongodb::bson::raw::{RawDocumentBuf, cstr};
use mongodb::bson::{Document, rawdoc};
use ratelimit_core::{Check, Error};

use super::errors::nonsense;
use crate::shape::{Shape, delay};

/// How many are kept: limits may be made for single calls.
const KEPT: usize = 256;

/// What stands in a command where the version is going to be, and nothing else in it is likely to equal.
pub(super) const VERSION: i64 = 0x5c1e_93b7_d24a_6f81;

/// A command without the key and the version.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    version_at: usize,
    /// The fields of the state that it changes.
    pub(super) changed: Vec<String>,
}

/// What a command depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    shape: Shape,
    cost: u32,
    delay: u64,
    /// The limit, the burst and the period of each rate.
    rates: Vec<(u32, u32, u64)>,
}

impl Kind {
    fn of(check: &Check<'_>, shape: Shape) -> Self {
        let rates = check.limits.as_slice().iter().map(|limit| {
            let terms = limit.terms();
            (terms.limit, terms.burst, terms.period)
        });
        Self {
            shape,
            cost: check.cost,
            delay: if shape.delayed { delay(check) } else { 0 },
            rates: rates.collect(),
        }
    }
}

impl Template {
    pub(super) fn of(command: &Document, changed: Vec<String>) -> Option<Self> {
        let bytes = RawDocumentBuf::try_from(command).ok()?.into_bytes();
        let version = VERSION.to_le_bytes();
        let mut found = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&version));
        // What has it twice would be changed in the wrong place.
        let (Some(version_at), None) = (found.next(), found.next()) else {
            return None;
        };
        Some(Self {
            bytes,
            version_at,
            changed,
        })
    }

    /// The command for this key.
    pub(super) fn command(&self, name: &str, version: i64) -> Result<RawDocumentBuf, Error> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + name.len() + 64);
        bytes.extend_from_slice(&self.bytes);
        bytes[self.version_at..][..8].copy_from_slice(&version.to_le_bytes());
        let mut command = RawDocumentBuf::from_bytes(bytes).map_err(|_| nonsense())?;
        command.append(cstr!("query"), rawdoc! { "_id": name });
        Ok(command)
    }
}

#[derive(Debug, Default)]
pub(super) struct Templates(Mutex<HashMap<Kind, Arc<Template>>>);

impl Templates {
    /// That of a check, which `make` makes if there is none.
    pub(super) fn get(
        &self,
        check: &Check<'_>,
        shape: Shape,
        make: impl FnOnce() -> Option<Template>,
    ) -> Option<Arc<Template>> {
        let kind = Kind::of(check, shape);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = known().get(&kind) {
            return Some(Arc::clone(template));
        }
        let template = Arc::new(make()?);
        let mut known = known();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(kind, Arc::clone(&template));
        Some(template)
    }
}
