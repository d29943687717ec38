//! [`Backend`]: what decides, atomically.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::borrow::Cow;
use std::sync::Arc;

use crate::capabilities::Capabilities;
use crate::check::{Adjust, Check};
use crate::decision::Decision;
use crate::error::Error;

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One answer for each question, in order.
pub type Answers = Vec<Result<Decision, Error>>;

/// How the checks of one batch hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Join {
    /// Each by itself, in order: checks of one key see what those before them charged.
    Each,
    /// All or none: if any is denied or fails, nothing is charged, and the outcome of every answer
    /// is [`Denied`](crate::Outcome::Denied) (those that would have fitted have a `retry_after` of
    /// zero).
    All,
}

/// What a reachable backend says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pong {
    /// How long the answer took.
    pub latency: Duration,
    /// The store's version, where it tells.
    pub version: Option<Cow<'static, str>>,
    /// How many keys it holds, where it knows.
    pub keys: Option<u64>,
}

impl Pong {
    /// An answer that took so long.
    pub fn new(latency: Duration) -> Self {
        Self {
            latency,
            version: None,
            keys: None,
        }
    }

    /// The same with the store's version.
    pub fn with_version(mut self, version: impl Into<Cow<'static, str>>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The same with the number of keys that it holds.
    pub fn with_keys(mut self, keys: u64) -> Self {
        self.keys = Some(keys);
        self
    }
}

/// How to look for keys that can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Only count them.
    pub dry_run: bool,
    /// How many to remove at once; callers are let through between batches.
    pub batch: usize,
}

impl Sweep {
    /// Removes what can be forgotten, a thousand keys at once.
    pub const fn new() -> Self {
        Self {
            dry_run: false,
            batch: 1_000,
        }
    }

    /// Only counts, or removes.
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Removes at most so many at once; zero is taken for one.
    pub const fn with_batch(mut self, batch: usize) -> Self {
        self.batch = if batch == 0 { 1 } else { batch };
        self
    }
}

impl Default for Sweep {
    fn default() -> Self {
        Self::new()
    }
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Keys that were removed or, in a dry run, would have been.
    pub removed: u64,
    /// Keys that are still live.
    pub kept: u64,
}

impl Swept {
    /// So many removed and kept.
    pub const fn new(removed: u64, kept: u64) -> Self {
        Self { removed, kept }
    }
}

/// What decides: one atomic answer to each question.
///
/// A batch is the native form, and a single check is a batch of one. Every method can be called
/// from any number of threads at once.
///
/// An answer is `Err` when the backend could not decide ([`Error`]), never for a denial. A cost
/// above the policy's capacity is an error of the kind
/// [`Unsatisfiable`](crate::ErrorKind::Unsatisfiable).
pub trait Backend: Send + Sync + 'static {
    /// What it can do. It does not change.
    fn capabilities(&self) -> &Capabilities;

    /// Decides, and charges what is admitted: one answer for each check, in order.
    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers>;

    /// Decides a single check if that takes no I/O and no waiting.
    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        let _ = check;
        None
    }

    /// What [`decide`](Self::decide) would answer, with what is left as it stands: nothing is
    /// charged.
    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers>;

    /// Gives charges back, or charges more for what was already admitted.
    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers>;

    /// Makes the keys of these checks fresh.
    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether it can be reached.
    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>>;

    /// Removes keys that can be forgotten, where the store does not do so by itself.
    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>>;

    /// Ends what is under way and closes connections. Later questions fail.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// The same backend over connections of its own, for callers that block: they are served by a
    /// runtime of ours, on which the caller's connections could not progress.
    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        None
    }
}

/// A shared backend is a backend.
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        (**self).decide(checks, join)
    }

    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        (**self).decide_now(check)
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        (**self).peek(checks)
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        (**self).adjust(adjusts)
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        (**self).reset(checks)
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        (**self).ping()
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        (**self).sweep(sweep)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        (**self).close()
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        (**self).bridged()
    }
}

/// Makes a backend around a backend: a timeout, a breaker, a cache. What is made is registered like
/// any other.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use ratelimit_core::{
///     Adjust, Answers, Backend, BoxFuture, Capabilities, Check, Error, Join, Layer, Pong, Sweep, Swept,
/// };
///
/// /// Counts denials.
/// struct Count(Arc<AtomicU64>);
///
/// struct Counted {
///     inner: Arc<dyn Backend>,
///     denials: Arc<AtomicU64>,
/// }
///
/// impl Layer for Count {
///     fn layer(&self, inner: Arc<dyn Backend>) -> Result<Arc<dyn Backend>, Error> {
///         Ok(Arc::new(Counted { inner, denials: Arc::clone(&self.0) }))
///     }
/// }
///
/// impl Backend for Counted {
///     // `decide_now` is left out, so that every decision comes here.
///     fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
///         Box::pin(async move {
///             let answers = self.inner.decide(checks, join).await;
///             let denied = answers.iter().flatten().filter(|decision| !decision.is_allowed());
///             self.denials.fetch_add(denied.count() as u64, Ordering::Relaxed);
///             answers
///         })
///     }
///
///     // The blocking bridge's own connections are counted as well.
///     fn bridged(&self) -> Option<Arc<dyn Backend>> {
///         let inner = self.inner.bridged()?;
///         Some(Arc::new(Counted { inner, denials: Arc::clone(&self.denials) }))
///     }
///
///     // All else is the inner backend's.
///     fn capabilities(&self) -> &Capabilities {
///         self.inner.capabilities()
///     }
///     fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
///         self.inner.peek(checks)
///     }
///     fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
///         self.inner.adjust(adjusts)
///     }
///     fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
///         self.inner.reset(checks)
///     }
///     fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
///         self.inner.ping()
///     }
///     fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
///         self.inner.sweep(sweep)
///     }
///     fn close(&self) -> BoxFuture<'_, ()> {
///         self.inner.close()
///     }
/// }
/// ```
pub trait Layer {
    /// Puts the layer around a backend; fails when the two do not fit.
    fn layer(&self, inner: Arc<dyn Backend>) -> Result<Arc<dyn Backend>, Error>;
}
