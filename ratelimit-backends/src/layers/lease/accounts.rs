//! [`Accounts`]: those of all keys, their number bounded.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, UnitWeighter};
use ratelimit_core::{Check, Error, ErrorKind, Timestamp};

use super::account::Account;
use crate::hash::Seeds;
use crate::layers::subject::{Asked, Mixed, Subject};

/// A share of fewer units is not worth it.
const FEWEST: u32 = 8;

type Known = Cache<Subject, Arc<Account>, UnitWeighter, Mixed, Strays>;

/// Accounts that were pushed out, or replaced, while something was held there or under way: nobody finds
/// them any more, and still it is to be known what becomes of that.
#[derive(Clone, Debug, Default)]
struct Strays(Arc<Mutex<Vec<Weak<Account>>>>);

impl Strays {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<Account>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, account: &Arc<Account>) {
        // Whoever keeps watch over one, or fetches more for it, has it as well.
        if Arc::strong_count(account) == 1 {
            return;
        }
        let mut all = self.all();
        if all.len() == all.capacity() {
            all.retain(|stray| stray.strong_count() > 0);
        }
        all.push(Arc::downgrade(account));
    }

    fn get(&self) -> Vec<Arc<Account>> {
        self.all().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Lifecycle<Subject, Arc<Account>> for Strays {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Subject, account: Arc<Account>) {
        self.add(&account);
    }
}

/// The accounts of the keys that were asked for of late.
pub(super) struct Accounts {
    seeds: Seeds,
    known: Known,
    strays: Strays,
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
        let strays = Strays::default();
        Ok(Self {
            seeds: Seeds::random(),
            known: Cache::with_options(options, UnitWeighter, Mixed::default(), strays.clone()),
            strays,
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
            // Something may be under way to it: what is replaced is evicted, and remembered if so.
            _ => {}
        }
        let account = Arc::new(Account::new(check, most, self.life));
        self.known.insert(asked.subject(), Arc::clone(&account));
        Some(account)
    }

    /// The accounts of a key, under whatever limits, be they found by callers or not.
    pub(super) fn any(&self, asked: &Asked<'_>) -> impl Iterator<Item = Arc<Account>> + use<> {
        let known = self.known.peek(asked);
        let mut strays = self.strays.get();
        strays.retain(|stray| stray.is_of(asked.check));
        known.into_iter().chain(strays)
    }

    /// All accounts of which something may be held.
    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        let known = self.known.iter().map(|(_, account)| account);
        known.chain(self.strays.get()).collect()
    }

    pub(super) fn len(&self) -> u64 {
        self.known.len() as u64
    }
}
