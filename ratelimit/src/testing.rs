//! For tests of guarded functions: a registry of the test's own, and a clock that it moves.
//!
//! ```
//! use std::time::Duration;
//! use ratelimit::{Rejection, ratelimit, testing};
//!
//! #[ratelimit(key = user, rate = "2/m", algorithm = "fixed_window")]
//! fn search(user: &str) -> Result<&'static str, Rejection> {
//!     Ok("found")
//! }
//!
//! let scope = testing::scope();
//! assert!(search("ada").is_ok());
//! assert!(search("ada").is_ok());
//! assert!(search("ada").is_err());
//! assert!(search("bob").is_ok());
//! scope.clock().advance(Duration::from_secs(60));
//! assert!(search("ada").is_ok());
//! ```

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use ratelimit_backends::memory::MemoryBackend;
pub use ratelimit_core::ManualClock;

use crate::registry::{InstallError, Registry, global};

/// Gives this thread a registry of its own, until the scope is dropped: a fresh memory backend,
/// which every backend name stands for, and a [`ManualClock`] at a full minute.
///
/// Scopes of several threads do not see each other, so that tests run in parallel.
pub fn scope() -> Scope {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder().clock(clock.clone()).build();
    let builder = Registry::builder().clock(clock.clone());
    Scope::enter(builder.for_any_name(backend), clock)
}

/// Gives this thread a registry until the scope is dropped, to test with other backends, overrides
/// or postures. What makes it is given the scope's clock, for the backends that are to follow it.
/// Calls that wait for a place follow it, too, unless the builder is given [another
/// clock](crate::Builder::clock).
///
/// ```
/// use ratelimit::{MemoryBackend, Mode, Override, Registry, ratelimit, testing};
///
/// #[ratelimit(name = "export", rate = "1/h", backend = "redis")]
/// fn export() -> Option<()> {
///     Some(())
/// }
///
/// # fn main() -> Result<(), ratelimit::InstallError> {
/// let _scope = testing::scope_with(|clock| {
///     Registry::builder()
///         .backend("redis", MemoryBackend::builder().clock(clock).build())
///         .override_policy("export", Override::new().mode(Mode::Shadow))
/// })?;
/// assert!((0..5).all(|_| export().is_some()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The faults of the registry; annotated functions are validated when they are called.
pub fn scope_with(
    builder: impl FnOnce(ManualClock) -> crate::Builder,
) -> Result<Scope, InstallError> {
    let clock = ManualClock::new();
    let builder = builder(clock.clone()).clock_unless_given(clock.clone());
    Ok(Scope::enter(builder.build()?, clock))
}

/// A test's own registry, as long as it lives; see [`scope`].
///
/// It follows its thread: what is awaited on it sees it. A task or a thread that the test starts
/// does not, unless it is given the scope by [`wrap`](Self::wrap) or [`run`](ScopeHandle::run).
#[must_use = "the scope ends when it is dropped"]
pub struct Scope {
    handle: ScopeHandle,
    /// It must be dropped on the thread that it was made on.
    not_send: PhantomData<*const ()>,
}

impl Scope {
    fn enter(registry: Registry, clock: ManualClock) -> Self {
        global::push_scope(registry.clone());
        let handle = ScopeHandle {
            registry,
            clock,
            _counted: Arc::new(Counted::new()),
        };
        Self {
            handle,
            not_send: PhantomData,
        }
    }

    /// The clock.
    pub fn clock(&self) -> &ManualClock {
        &self.handle.clock
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.handle.registry
    }

    /// The scope for another thread.
    pub fn handle(&self) -> ScopeHandle {
        self.handle.clone()
    }

    /// The future, which sees the scope wherever it is polled.
    pub fn wrap<F: Future>(&self, future: F) -> Scoped<F> {
        self.handle.wrap(future)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        global::pop_scope(&self.handle.registry);
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.handle.registry).finish()
    }
}

/// A [`Scope`] for another thread or task.
#[derive(Clone, Debug)]
pub struct ScopeHandle {
    registry: Registry,
    clock: ManualClock,
    _counted: Arc<Counted>,
}

impl ScopeHandle {
    /// Runs something on this thread that sees the scope.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _inside = Inside::enter(&self.registry);
        work()
    }

    /// The future, which sees the scope wherever it is polled.
    pub fn wrap<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped {
            future: Box::pin(future),
            handle: self.clone(),
        }
    }
}

/// A future that sees a [`Scope`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Scoped<F> {
    future: Pin<Box<F>>,
    handle: ScopeHandle,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _inside = Inside::enter(&this.handle.registry);
        this.future.as_mut().poll(context)
    }
}

/// A registry on this thread's stack of scopes, also while it unwinds.
struct Inside<'a>(&'a Registry);

impl<'a> Inside<'a> {
    fn enter(registry: &'a Registry) -> Self {
        global::push_scope(registry.clone());
        Self(registry)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        global::pop_scope(self.0);
    }
}

/// Counts a scope among those that are under way, as long as anything can see it.
#[derive(Debug)]
struct Counted(());

impl Counted {
    fn new() -> Self {
        global::scope_begins();
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        global::scope_ends();
    }
}
