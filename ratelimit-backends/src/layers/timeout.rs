//! [`Timeout`]: every answer in time, or an error.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Answers, Backend, BoxFuture, Capabilities, Check, Decision, Error, ErrorKind, Join,
    Layer, Pong, Sweep, Swept,
};

use crate::within::{prepare, within};

/// Bounds how long a backend may take: what has no answer in time is an error of the kind
/// [`Timeout`](ErrorKind::Timeout), one for each check.
///
/// Everything that takes time is bounded, `sweep` and `close` included (a close that was given up has
/// ended for the caller alone); [`decide_now`](Backend::decide_now), which takes none, is handed on.
/// What the store was asked when it was given up may still be charged there.
///
/// The bound is rounded up to whole milliseconds. It is kept by a thread of its own, so that it holds on
/// any executor, and within tokio runtimes whose time is off or paused. A backend that blocks the
/// thread that polls it cannot be bounded.
///
/// A bound of zero is an error of the kind [`Configuration`](ErrorKind::Configuration) when the layer is
/// put around a backend.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use ratelimit_backends::layers::Timeout;
/// use ratelimit_backends::memory::MemoryBackend;
/// use ratelimit_core::{Algorithm, Check, Join, KeyBuf, Layer, Policy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let backend = Timeout::new(Duration::from_millis(50)).layer(Arc::new(MemoryBackend::new()))?;
///
/// let policy = Policy::new("login", Algorithm::TokenBucket, "10/m".parse()?);
/// let key = KeyBuf::of("alice");
/// let check = Check::new(&policy, policy.limits(), key.as_ref());
/// let answers = backend.decide(&[check], Join::Each).await;
/// assert!(answers[0].as_ref().is_ok_and(|decision| decision.is_allowed()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    bound: Duration,
}

impl Timeout {
    /// How long an answer may take unless said otherwise: 100 ms.
    pub const DEFAULT: Duration = Duration::from_millis(100);

    /// A layer that gives every answer so much time.
    pub const fn new(bound: Duration) -> Self {
        Self { bound }
    }
}

/// [`Timeout::DEFAULT`].
impl Default for Timeout {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl Layer for Timeout {
    fn layer(&self, inner: Arc<dyn Backend>) -> Result<Arc<dyn Backend>, Error> {
        if self.bound.is_zero() {
            let message = "a timeout of zero leaves no time for an answer";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        prepare()?;
        let bound = self.bound;
        Ok(Arc::new(Bounded { inner, bound }))
    }
}

struct Bounded {
    inner: Arc<dyn Backend>,
    bound: Duration,
}

impl Bounded {
    /// One answer for each of so many questions.
    async fn each(&self, questions: usize, work: impl Future<Output = Answers>) -> Answers {
        match within(self.bound, pin!(work)).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); questions],
        }
    }
}

impl Backend for Bounded {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(self.each(checks.len(), self.inner.decide(checks, join)))
    }

    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        self.inner.decide_now(check)
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(self.each(checks.len(), self.inner.peek(checks)))
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(self.each(adjusts.len(), self.inner.adjust(adjusts)))
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { within(self.bound, self.inner.reset(checks).as_mut()).await? })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(async move { within(self.bound, self.inner.ping().as_mut()).await? })
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(async move { within(self.bound, self.inner.sweep(sweep).as_mut()).await? })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // There is nobody to tell that it took too long.
            let _ = within(self.bound, self.inner.close().as_mut()).await;
        })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let (inner, bound) = (self.inner.bridged()?, self.bound);
        Some(Arc::new(Self { inner, bound }))
    }
}

#[cfg(test)]
mod tests;
