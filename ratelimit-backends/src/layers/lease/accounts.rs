//! [`Accounts`]: those of all keys, their number bounded.

use core::time::Duration;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};
use ratelimit_core::{Check, Error, ErrorKind, Timestamp};

use super::account::Account;
use crate::hash::Seeds;
use crate::layers::subject::{Asked, Mixed, Subject};

/// A share of fewer units is not worth it.
const FEWEST: u32 = 8;

type Known =
    Cache<Subject, Arc<Account>, UnitWeighter, Mixed, DefaultLifecycle<Subject, Arc<Account>>>;

/// The accounts of the keys that were asked for of late.
pub(super) struct Accounts {
    seeds: Seeds,
    known: Known,
    share: f64,
    life: Duration,
}

impl Accounts {
    pub(super) fn new(max_keys: usize, share: f64, life: Duration) -> Result<Self, Error> {
        let mut options = OptionsBuilder::new();
        let options = options
            .estimated_items_capacity(max_keys)
            .weight_capacity(max_keys as u64)
            .build();
        let options =
            options.map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))?;
        Ok(Self {
            seeds: Seeds::random(),
            known: Cache::with_options(
                options,
                UnitWeighter,
                Mixed::default(),
                DefaultLifecycle::default(),
            ),
            share,
            life,
        })
    }

    pub(super) fn asked<'a>(&self, check: &'a Check<'a>) -> Asked<'a> {
        Asked {
            check,
            fingerprint: self.seeds.key(check.policy, check.key),
        }
    }

    /// How many units of such a key may be held.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of a share up to one
    fn most(&self, check: &Check<'_>) -> u32 {
        (f64::from(check.capacity()) * self.share) as u32
    }

    /// The account of a key, if there is one under these limits.
    pub(super) fn get(&self, asked: &Asked<'_>) -> Option<Arc<Account>> {
        let account = self.known.get(asked)?;
        account.is_under(asked.check.limits).then_some(account)
    }

    /// The account of a key, which is opened if there is none. There is none for what is too little to
    /// be shared out, nor for other limits than those under which something is held.
    pub(super) fn open(&self, asked: &Asked<'_>, now: Timestamp) -> Option<Arc<Account>> {
        let check = asked.check;
        let most = self.most(check);
        if most < FEWEST || check.cost == 0 || check.cost > check.capacity() {
            return None;
        }
        match self.known.get(asked) {
            Some(account) if account.is_under(check.limits) => return Some(account),
            Some(account) if !account.is_empty(now) => return None,
            _ => {}
        }
        let account = Arc::new(Account::new(check, most, self.life));
        self.known.insert(asked.subject(), Arc::clone(&account));
        Some(account)
    }

    /// The account of a key, under whatever limits.
    pub(super) fn any(&self, asked: &Asked<'_>) -> Option<Arc<Account>> {
        self.known.peek(asked)
    }

    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        self.known.iter().map(|(_, account)| account).collect()
    }

    pub(super) fn len(&self) -> u64 {
        self.known.len() as u64
    }
}
