//! [`CasStore`]: what a store has to do.

use core::future::Future;
use core::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use ratelimit_core::{Error, Pong};

/// A key that nobody has.
const NOBODY: &str = "ratelimit:ping";

/// A store of keys and values that compares and swaps.
///
/// A store that keeps to what is said here has every algorithm, exactly, for any number of processes that use it.
///
/// # Keys
///
/// A key is 1 to 250 of the ASCII letters, digits and `_ - . : @ % = { }`; what a client sent is escaped in it, or stands
/// there as a digest. Keys that differ in the case of a letter are different keys.
///
/// # Values
///
/// A value is opaque bytes. Most have less than a hundred; the log of a `sliding_window` has 16 for each unit that its limit
/// admits in a period, for each of its rates. [`max_log`](super::CasBuilder::max_log) keeps it below what a store can hold.
///
/// # What must hold
///
/// - A [`swap`](Self::swap) that says `true` has compared the version and stored the state in one step: of several swaps of one
///   version, one says `true`. This is what makes decisions exact; a store that looks first and writes then does not have it.
/// - What was stored is loaded by whoever asks afterwards, wherever it asks: no replica that lags behind.
/// - Once a key has another value, no version that was loaded before is the key's version again, also not when the key was
///   removed and stored anew: count all changes of the store, not those of a key. (A version may as well be the state itself,
///   as equal states are as good as one.)
/// - A key whose time is over is as one that was never there, whether it is removed then or later. One that is forgotten before
///   is a fresh key as well, with its whole budget: a store that does so says it by [`forgets`](super::CasBuilder::forgets).
///
/// # Failures
///
/// An error is said of what cannot be done, of the [kind](ratelimit_core::ErrorKind) that fits: `Connection` and `Timeout` are
/// taken for passing. A swap of which the outcome is not known is an error, too; it is not tried again, and what it wanted to
/// charge may be charged. Nothing has to keep time: a call that takes too long is given up, by dropping its future, which has
/// to leave the store usable. Methods are called from many threads at once, and must neither block them for long nor panic.
pub trait CasStore: Send + Sync + 'static {
    /// Stands for a state as it was loaded: a number that the store gives to each change, a tag, the state itself.
    type Version: Send + Sync + 'static;

    /// What is stored of a key; nothing if it is not there, or its time is over.
    fn load(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<Loaded<Self::Version>>, Error>> + Send;

    /// Stores a state if the key is still as it was loaded, and says whether it did: `false` if anybody has stored or removed
    /// the key meanwhile, or its time was over.
    fn swap(
        &self,
        swap: &Swap<'_, Self::Version>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Removes a key, whatever is stored of it, if anything is.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Loads several keys of one [part](Self::part), one answer for each, in order. A store that can do so in one trip should; by default each is
    /// [loaded](Self::load) by itself, all at once.
    fn load_many(
        &self,
        keys: &[&str],
    ) -> impl Future<Output = Vec<Result<Option<Loaded<Self::Version>>, Error>>> + Send {
        async move { join_all(keys.iter().map(|key| self.load(key))).await }
    }

    /// Swaps several keys of one [part](Self::part), each by itself, with one answer for each, in order. A store that can do so in one trip should; by
    /// default each is [swapped](Self::swap) by itself, all at once.
    fn swap_many(
        &self,
        swaps: &[Swap<'_, Self::Version>],
    ) -> impl Future<Output = Vec<Result<bool, Error>>> + Send {
        async move { join_all(swaps.iter().map(|swap| self.swap(swap))).await }
    }

    /// Which part of the store has the key, where one can fail while others do not, as one of several servers: each is asked
    /// by itself. By default there is one part.
    fn part(&self, key: &str) -> usize {
        let _ = key;
        0
    }

    /// Whether the store can be reached. By default a key is loaded that nobody has.
    fn ping(&self) -> impl Future<Output = Result<Pong, Error>> + Send {
        async move {
            let started = Instant::now();
            self.load(NOBODY).await?;
            Ok(Pong::new(started.elapsed()))
        }
    }

    /// Lets go of connections; nothing is asked afterwards. By default nothing is done.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The same store over connections of its own, for callers that block: they are served by a runtime of ours, on which
    /// connections of the caller's could not progress. By default there is none, which is right for a store that has no
    /// connections, or whose connections do not belong to a runtime.
    fn bridged(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// A shared store is a store.
impl<S: CasStore> CasStore for std::sync::Arc<S> {
    type Version = S::Version;

    fn load(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<Loaded<Self::Version>>, Error>> + Send {
        (**self).load(key)
    }

    fn swap(
        &self,
        swap: &Swap<'_, Self::Version>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        (**self).swap(swap)
    }

    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Error>> + Send {
        (**self).delete(key)
    }

    fn load_many(
        &self,
        keys: &[&str],
    ) -> impl Future<Output = Vec<Result<Option<Loaded<Self::Version>>, Error>>> + Send {
        (**self).load_many(keys)
    }

    fn swap_many(
        &self,
        swaps: &[Swap<'_, Self::Version>],
    ) -> impl Future<Output = Vec<Result<bool, Error>>> + Send {
        (**self).swap_many(swaps)
    }

    fn part(&self, key: &str) -> usize {
        (**self).part(key)
    }

    fn ping(&self) -> impl Future<Output = Result<Pong, Error>> + Send {
        (**self).ping()
    }

    fn close(&self) -> impl Future<Output = ()> + Send {
        (**self).close()
    }

    fn bridged(&self) -> Option<Self> {
        (**self).bridged().map(std::sync::Arc::new)
    }
}

/// What is stored of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<V> {
    /// The state, as it was given to the store.
    pub state: Vec<u8>,
    /// Stands for it in a [`Swap`].
    pub version: V,
}

impl<V> Loaded<V> {
    /// A state and its version.
    pub fn new(state: Vec<u8>, version: V) -> Self {
        Self { state, version }
    }
}

/// A state that takes the place of what was loaded.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Swap<'a, V> {
    /// The key.
    pub key: &'a str,
    /// The version that was loaded; none if the key was not there, and it is stored only if it still is not.
    pub expected: Option<&'a V>,
    /// What is stored. Empty if nothing of the key is in use any more: it may then be removed instead, if that compares the
    /// version as well.
    pub state: &'a [u8],
    /// How long it is kept, at least; a store whose time is coarse keeps it for longer. Zero for an empty state, which need not
    /// be kept at all.
    pub keep: Duration,
}

impl<'a, V> Swap<'a, V> {
    /// A state that takes the place of what was loaded, for so long.
    pub fn new(key: &'a str, expected: Option<&'a V>, state: &'a [u8], keep: Duration) -> Self {
        Self {
            key,
            expected,
            state,
            keep,
        }
    }
}
