//! Backends that misbehave, to see what the framework makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ratelimit::{
    Adjust, AlgorithmSet, Answers, Backend, BoxFuture, Capabilities, Check, Decision, Error,
    ErrorKind, Join, JoinScope, MemoryBackend, Outcome, Pong, Sweep, Swept,
};

/// What a [`Faulty`] backend does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers, after other tasks had their turn.
    Yields,
    /// Answers, after a timer.
    Sleeps,
    /// Fails to connect.
    Fails,
    /// Says that the store is full of something else.
    Misconfigured,
    /// Says that it cannot do what it said it could.
    Incapable,
    /// Says that the call can never fit.
    Unsatisfied,
    /// Never answers.
    Hangs,
    /// Fails to decide the last of several questions.
    FailsInPart,
    /// Gives two answers to each question.
    Babbles,
    /// Gives no answer.
    Mumbles,
    /// Panics.
    Panics,
}

/// A backend that decides elsewhere, as far as anyone can tell, and then does something else.
#[derive(Clone)]
pub(crate) struct Faulty {
    fault: Fault,
    inner: Arc<MemoryBackend>,
    asked: Arc<AtomicUsize>,
    capabilities: Capabilities,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            fault,
            inner: Arc::new(MemoryBackend::new()),
            asked: Arc::default(),
            capabilities: Capabilities::new(AlgorithmSet::ALL)
                .with_refund(AlgorithmSet::ALL)
                .with_shared(true),
        }
    }

    /// The same, able to make one decision of any keys.
    pub(crate) fn joining(self) -> Self {
        let capabilities = self.capabilities.with_join(JoinScope::Any);
        Self {
            capabilities,
            ..self
        }
    }

    /// How many batches it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn act(&self, answers: BoxFuture<'_, Answers>) -> Answers {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let fail = |kind| vec![Err(Error::new(kind, "on purpose"))];
        match self.fault {
            Fault::Yields => {
                tokio::task::yield_now().await;
                answers.await
            }
            Fault::Sleeps => {
                tokio::time::sleep(Duration::from_millis(2)).await;
                answers.await
            }
            Fault::Fails => fail(ErrorKind::Connection),
            Fault::Misconfigured => fail(ErrorKind::Configuration),
            Fault::Incapable => fail(ErrorKind::Unsupported),
            Fault::Unsatisfied => fail(ErrorKind::Unsatisfiable),
            Fault::FailsInPart => {
                let mut answers = answers.await;
                answers.pop();
                answers.extend(fail(ErrorKind::Connection));
                answers
            }
            Fault::Hangs => std::future::pending().await,
            Fault::Babbles => {
                let mut answers = answers.await;
                answers.extend(answers.clone());
                answers
            }
            Fault::Mumbles => Vec::new(),
            Fault::Panics => panic!("on purpose"),
        }
    }
}

impl Backend for Faulty {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(self.act(self.inner.decide(checks, join)))
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(self.act(self.inner.peek(checks)))
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(self.act(self.inner.adjust(adjusts)))
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.reset(checks)
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.inner.ping()
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        self.inner.sweep(sweep)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

/// A backend that makes every call wait, asked or not.
pub(crate) struct Delaying(pub(crate) MemoryBackend);

impl Backend for Delaying {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let late = |decision: Decision| {
                decision.with_outcome(Outcome::AllowedAfter(Duration::from_mins(1)))
            };
            let answers = self.0.decide(checks, join).await;
            answers.into_iter().map(|answer| answer.map(late)).collect()
        })
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        self.0.peek(checks)
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        self.0.adjust(adjusts)
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        self.0.reset(checks)
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.0.ping()
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        self.0.sweep(sweep)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}
