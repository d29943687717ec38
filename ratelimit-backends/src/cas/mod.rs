//! [`CasBackend`]: decides in any store of keys and values that compares and swaps.
//!
//! Who has such a store implements [`CasStore`] for it: load a state with its version, swap it if the version is still the same,
//! delete it. That is all, and every algorithm decides exactly on it, for any number of processes.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Mutex, PoisonError};
//! use ratelimit_backends::cas::{CasBackend, CasStore, Loaded, Swap};
//! use ratelimit_core::{Algorithm, Backend, Check, Error, Join, KeyBuf, Policy};
//!
//! /// A map that forgets nothing. The state is its own version.
//! #[derive(Default)]
//! struct Map(Mutex<HashMap<String, Vec<u8>>>);
//!
//! impl CasStore for Map {
//!     type Version = Vec<u8>;
//!
//!     async fn load(&self, key: &str) -> Result<Option<Loaded<Vec<u8>>>, Error> {
//!         let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
//!         Ok(map.get(key).map(|state| Loaded::new(state.clone(), state.clone())))
//!     }
//!
//!     async fn swap(&self, swap: &Swap<'_, Vec<u8>>) -> Result<bool, Error> {
//!         let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
//!         let is_same = map.get(swap.key) == swap.expected;
//!         if is_same {
//!             map.insert(swap.key.to_owned(), swap.state.to_vec());
//!         }
//!         Ok(is_same)
//!     }
//!
//!     async fn delete(&self, key: &str) -> Result<(), Error> {
//!         self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backend = CasBackend::new(Map::default())?;
//! let policy = Policy::new("login", Algorithm::SlidingWindow, "10/m".parse()?);
//! let key = KeyBuf::of("alice");
//! let check = Check::new(&policy, policy.limits(), key.as_ref());
//! let answers = backend.decide(&[check], Join::Each).await;
//! assert_eq!(answers[0].as_ref().map(|decision| decision.remaining()).ok(), Some(9));
//! # Ok(())
//! # }
//! ```
//!
//! # A decision
//!
//! One load and one swap: two trips where the store is elsewhere. What changes nothing (a denial, a check of no units, a peek)
//! is not written: one trip. What callers of one process ask at the same time is merged: all that is asked of one key is
//! decided by one load and one swap, in order, so that a hot key is not in its own way. Where other processes change the key
//! between the two, it is [tried again](CasBuilder::retries), with pauses; when that was in vain, nothing is charged.
//!
//! # Whose clock
//!
//! The store has none that could be asked together with a swap: the clock is this process's system clock, read between the load
//! and the swap. All processes that share a store are to keep theirs in step, as with NTP. Up to ten seconds apart, a key is
//! admitted what its policy says, by the clock that is ahead: who is behind takes the newest instant of a state for now, and so
//! waits for as long as it is behind. Farther apart, or when a clock steps back by more, what was admitted is moved back with it:
//! nobody is locked out, but processes that take turns then let its time pass more than once. The store is told only how long
//! to keep a state (a window for ten seconds more than it lasts), so that its own clock need not agree.
//!
//! # What is no state of ours
//!
//! A key under which something else is stored is an error of the kind `Protocol`, and is left as it is.
//!
//! - `store`: what a store has to do; `builder`: the options.
//! - `ask`: the questions of many callers, by one load and one swap of each key; `engine`: a caller's questions; here are the
//!   backend's methods on top of it.

mod ask;
mod builder;
mod engine;
mod store;

use core::fmt;
use core::pin::{Pin, pin};
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ratelimit_core::{
    Adjust, Answers, Backend, BoxFuture, Capabilities, Check, Error, ErrorKind, Join, Pong, Sweep,
    Swept,
};

use crate::batcher::Batcher;
use crate::within::within;
use ask::Client;
pub(crate) use builder::Options;

pub use builder::CasBuilder;
pub use store::{CasStore, Loaded, Swap};

/// How long a decision may take unless said otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);

/// Decides in a store that compares and swaps: see the [module](self).
pub struct CasBackend<S: CasStore> {
    batcher: Batcher<Client<S>>,
    options: Options,
    closed: AtomicBool,
}

impl<S: CasStore> CasBackend<S> {
    /// How long a decision may take unless said otherwise: 250 ms.
    pub const DEFAULT_TIMEOUT: Duration = DEFAULT_TIMEOUT;

    /// A backend on this store, with the default options.
    pub fn new(store: S) -> Result<Self, Error> {
        Self::builder(store).build()
    }

    /// A backend on this store; says first what it is to be like.
    pub fn builder(store: S) -> CasBuilder<S> {
        CasBuilder::new(store)
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.client().store
    }

    fn client(&self) -> &Client<S> {
        self.batcher.asks()
    }

    fn is_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the backend was closed"));
        }
        Ok(())
    }

    /// Within the time that a decision may take.
    async fn in_time<F: Future>(&self, work: Pin<&mut F>) -> Result<F::Output, Error> {
        self.is_open()?;
        within(self.options.timeout, work).await
    }
}

impl<S: CasStore> fmt::Debug for CasBackend<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CasBackend")
            .field("options", &self.options)
            .field("batcher", &self.batcher)
            .finish_non_exhaustive()
    }
}

impl<S: CasStore> Backend for CasBackend<S> {
    fn capabilities(&self) -> &Capabilities {
        &self.client().capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            match self.is_open() {
                Ok(()) => self.decide_batch(checks, join).await,
                Err(error) => vec![Err(error); checks.len()],
            }
        })
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            match self.is_open() {
                Ok(()) => self.peek_batch(checks).await,
                Err(error) => vec![Err(error); checks.len()],
            }
        })
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            match self.is_open() {
                Ok(()) => self.adjust_batch(adjusts).await,
                Err(error) => vec![Err(error); adjusts.len()],
            }
        })
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.in_time(pin!(self.remove(checks))).await? })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(async move { self.in_time(pin!(self.store().ping())).await? })
    }

    /// Nothing is to be done: the store removes by itself what is over.
    fn sweep(&self, _: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(async move {
            self.is_open()?;
            Ok(Swept::default())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if !self.closed.swap(true, Ordering::AcqRel) {
                // There is nobody to tell that it took too long.
                let _ = within(self.options.timeout, pin!(self.store().close())).await;
            }
        })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let store = self.store().bridged()?;
        let backend = CasBuilder::of(store, self.options.clone()).build().ok()?;
        Some(Arc::new(backend))
    }
}

#[cfg(test)]
mod tests;
