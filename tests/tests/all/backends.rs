//! Backends around the memory backend that misbehave, or can do less, to see what the framework makes
//! of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ratelimit::{
    Adjust, Algorithm, AlgorithmSet, Answers, Backend, BoxFuture, Capabilities, Check, ClockKind,
    Decision, Error, ErrorKind, Join, JoinScope, MemoryBackend, Outcome,
};

/// Methods of a backend that are those of the one that it keeps in a field.
macro_rules! passed_on {
    ($field:tt: $($method:ident)+) => {$(
        passed_on! { @$method $field }
    )+};
    (@decide $field:tt) => {
        fn decide<'a>(
            &'a self,
            checks: &'a [::ratelimit::Check<'a>],
            join: ::ratelimit::Join,
        ) -> ::ratelimit::BoxFuture<'a, ::ratelimit::Answers> {
            self.$field.decide(checks, join)
        }
    };
    (@peek $field:tt) => {
        fn peek<'a>(
            &'a self,
            checks: &'a [::ratelimit::Check<'a>],
        ) -> ::ratelimit::BoxFuture<'a, ::ratelimit::Answers> {
            self.$field.peek(checks)
        }
    };
    (@adjust $field:tt) => {
        fn adjust<'a>(
            &'a self,
            adjusts: &'a [::ratelimit::Adjust<'a>],
        ) -> ::ratelimit::BoxFuture<'a, ::ratelimit::Answers> {
            self.$field.adjust(adjusts)
        }
    };
    (@reset $field:tt) => {
        fn reset<'a>(
            &'a self,
            checks: &'a [::ratelimit::Check<'a>],
        ) -> ::ratelimit::BoxFuture<'a, Result<(), ::ratelimit::Error>> {
            self.$field.reset(checks)
        }
    };
    (@ping $field:tt) => {
        fn ping(
            &self,
        ) -> ::ratelimit::BoxFuture<'_, Result<::ratelimit::Pong, ::ratelimit::Error>> {
            self.$field.ping()
        }
    };
    (@sweep $field:tt) => {
        fn sweep(
            &self,
            sweep: ::ratelimit::Sweep,
        ) -> ::ratelimit::BoxFuture<'_, Result<::ratelimit::Swept, ::ratelimit::Error>> {
            self.$field.sweep(sweep)
        }
    };
    (@close $field:tt) => {
        fn close(&self) -> ::ratelimit::BoxFuture<'_, ()> {
            self.$field.close()
        }
    };
}

pub(crate) use passed_on;

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

    passed_on! { inner: reset ping sweep close }
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

    passed_on! { 0: peek adjust reset ping sweep close }
}

/// A backend that has one algorithm and a slow clock.
pub(crate) struct Small(MemoryBackend, Capabilities);

impl Small {
    pub(crate) fn new() -> Self {
        let capabilities = Capabilities::new(AlgorithmSet::EMPTY.with(Algorithm::TokenBucket))
            .with_clock(ClockKind::Server, Duration::from_millis(1));
        Self(MemoryBackend::new(), capabilities)
    }
}

impl Backend for Small {
    fn capabilities(&self) -> &Capabilities {
        &self.1
    }

    passed_on! { 0: decide peek adjust reset ping sweep close }
}
