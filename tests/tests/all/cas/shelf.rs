//! [`Shelf`]: a store in this process's memory, that counts what is asked of it and can be made to fail.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ratelimit_backends::cas::{CasStore, Loaded, Swap};
use ratelimit_core::{Error, ErrorKind, Pong};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Nothing,
    /// Somebody else is always faster.
    AlwaysOvertaken,
    /// What it loads is no state.
    Garbage,
    /// It never answers a load.
    HangsAtLoads,
    /// It stores what it is given, and never says so.
    HangsAtSwaps,
    /// It says that it cannot.
    Refuses,
    /// It loses an answer of several.
    Forgetful,
}

#[derive(Debug)]
struct Item {
    state: Vec<u8>,
    version: u64,
    until: Instant,
}

#[derive(Debug, Default)]
struct Items {
    items: HashMap<String, Item>,
    changes: u64,
}

#[derive(Debug)]
pub(super) struct Shelf {
    items: Mutex<Items>,
    trouble: Mutex<Trouble>,
    pub(super) loads: AtomicU64,
    pub(super) swaps: AtomicU64,
    pub(super) conflicts: AtomicU64,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            items: Mutex::default(),
            trouble: Mutex::new(Trouble::Nothing),
            loads: AtomicU64::new(0),
            swaps: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
        }
    }
}

impl Shelf {
    pub(super) fn has(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not over.
    fn items(&self) -> MutexGuard<'_, Items> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.items.retain(|_, item| item.until > Instant::now());
        items
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.items().items.keys().cloned().collect()
    }

    /// For how long the only key is kept.
    pub(super) fn keeps_for(&self) -> Duration {
        let items = self.items();
        let item = items.items.values().next().expect("a key");
        item.until.saturating_duration_since(Instant::now())
    }

    pub(super) fn counted(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        (count(&self.loads), count(&self.swaps))
    }
}

impl CasStore for Shelf {
    type Version = u64;

    async fn load(&self, key: &str) -> Result<Option<Loaded<u64>>, Error> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        assert!(key.len() <= 250 && key.bytes().all(|it| it.is_ascii_graphic()));
        match self.trouble() {
            Trouble::HangsAtLoads => core::future::pending().await,
            Trouble::Refuses => return Err(Error::new(ErrorKind::Refused, "not for you")),
            Trouble::Garbage => return Ok(Some(Loaded::new(b"no state".to_vec(), 1))),
            _ => {}
        }
        let loaded = |item: &Item| Loaded::new(item.state.clone(), item.version);
        let loaded = self.items().items.get(key).map(loaded);
        // Others may come before the swap.
        tokio::task::yield_now().await;
        Ok(loaded)
    }

    async fn swap(&self, swap: &Swap<'_, u64>) -> Result<bool, Error> {
        self.swaps.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let is_same = {
            let mut items = self.items();
            let version = items.items.get(swap.key).map(|item| &item.version);
            let is_same = version == swap.expected && self.trouble() != Trouble::AlwaysOvertaken;
            if is_same {
                items.changes += 1;
                let version = items.changes;
                let item = Item {
                    state: swap.state.to_vec(),
                    version,
                    until: Instant::now() + swap.keep,
                };
                items.items.insert(swap.key.to_owned(), item);
            } else {
                self.conflicts.fetch_add(1, Ordering::Relaxed);
            }
            is_same
        };
        if self.trouble() == Trouble::HangsAtSwaps {
            return core::future::pending().await;
        }
        Ok(is_same)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.items().items.remove(key);
        Ok(())
    }

    async fn load_many(&self, keys: &[&str]) -> Vec<Result<Option<Loaded<u64>>, Error>> {
        let mut loaded = Vec::new();
        for key in keys {
            loaded.push(self.load(key).await);
        }
        if self.trouble() == Trouble::Forgetful {
            loaded.pop();
        }
        loaded
    }

    async fn ping(&self) -> Result<Pong, Error> {
        let keys = u64::try_from(self.items().items.len()).expect("a number");
        Ok(Pong::new(Duration::ZERO).with_keys(keys))
    }
}
