//! Futures that are polled by hand, and a backend that counts and can take its time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use ratelimit::{
    Algorithm, Answers, Ask, Backend, BoxFuture, Capabilities, Check, Decision, Error, Join,
    ManualClock, MemoryBackend, Outcome, Policy, Quota, Registry, Rejection, rate,
};

use crate::backends::passed_on;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const TICK: Duration = Duration::from_nanos(1);

/// One tick less.
pub(super) fn just_before(time: Duration) -> Duration {
    time.saturating_sub(TICK)
}

/// Two every ten seconds.
pub(super) static TWO: Policy = Policy::new("two", Algorithm::FixedWindow, rate!("2/10s"));

/// Whether something was woken.
#[derive(Default)]
pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A future that is polled by hand, without any executor.
pub(super) struct Hand<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    flag: Arc<Flag>,
}

impl<'a, T> Hand<'a, T> {
    /// It counts as woken until it is polled.
    pub(super) fn new(future: impl Future<Output = T> + Send + 'a) -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let future = Box::pin(future);
        Self { future, flag }
    }

    pub(super) fn poll(&mut self) -> Poll<T> {
        // Each poll with a waker of its own, as an executor may do that moves tasks about: only the
        // latest counts.
        self.flag = Arc::default();
        self.poll_again()
    }

    /// The same with the waker that it has.
    pub(super) fn poll_again(&mut self) -> Poll<T> {
        self.flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.flag));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    #[track_caller]
    pub(super) fn pending(&mut self) {
        assert!(self.poll().is_pending(), "it is ready");
    }

    #[track_caller]
    pub(super) fn ready(&mut self) -> T {
        match self.poll() {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it is not ready"),
        }
    }

    pub(super) fn woken(&self) -> bool {
        self.flag.0.load(Ordering::SeqCst)
    }

    /// Polls it as often as it is woken; whether that was to its end.
    pub(super) fn run(&mut self) -> Option<T> {
        while self.woken() {
            if let Poll::Ready(value) = self.poll() {
                return Some(value);
            }
        }
        None
    }
}

pub(super) type Answer = Result<Decision, Rejection>;

pub(super) fn waiting<'a>(registry: &'a Registry, ask: &'a Ask<'a>) -> Hand<'a, Answer> {
    Hand::new(registry.ask(ask))
}

/// The time until a limited call may succeed.
#[track_caller]
pub(super) fn limited<T: std::fmt::Debug>(answer: Result<T, Rejection>) -> Duration {
    match answer {
        Err(Rejection::Limited(decision)) => decision.retry_after(),
        answer => panic!("{answer:?}"),
    }
}

/// Waits until something that other threads do has happened; fails when it takes far too long.
#[track_caller]
pub(super) fn eventually(mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it never happens"
        );
        std::thread::yield_now();
    }
}

/// Counts what it is asked, and takes its time if it is told to.
#[derive(Clone)]
pub(super) struct Counting {
    inner: Arc<MemoryBackend>,
    capabilities: Capabilities,
    asked: Arc<AtomicUsize>,
    /// How many polls an answer takes, before the charge and after it; it answers at once if none.
    polls: usize,
    /// It never says when to come back.
    mute: bool,
    /// What it does besides when it is asked and does not answer at once.
    aside: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Counting {
    pub(super) fn new(clock: ManualClock) -> Self {
        let inner = MemoryBackend::builder().clock(clock).build();
        Self {
            capabilities: inner.capabilities().clone(),
            inner: Arc::new(inner),
            asked: Arc::default(),
            polls: 0,
            mute: false,
            aside: None,
        }
    }

    /// The same, which does not say when to come back.
    pub(super) fn mute(self) -> Self {
        Self { mute: true, ..self }
    }

    /// The same, which does something besides.
    pub(super) fn aside(self, aside: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            aside: Some(Arc::new(aside)),
            ..self
        }
    }

    /// The same, answering after so many polls.
    pub(super) fn slow(self, polls: usize) -> Self {
        let capabilities = self.capabilities.with_immediate(false);
        Self {
            capabilities,
            polls,
            ..self
        }
    }

    /// The same with other capabilities.
    pub(super) fn with(self, change: impl FnOnce(Capabilities) -> Capabilities) -> Self {
        let capabilities = change(self.capabilities);
        Self {
            capabilities,
            ..self
        }
    }

    /// How many decisions it was asked for.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn pause(&self) {
        let mut left = self.polls;
        std::future::poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Backend for Counting {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(aside) = &self.aside {
                aside();
            }
            self.pause().await;
            let answers = self.inner.decide(checks, join).await;
            self.pause().await;
            answers
        })
    }

    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        if self.polls > 0 {
            return None;
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let decision = self.inner.decide_now(check)?;
        Some(decision.map(|decision| match decision.outcome() {
            Outcome::Denied if self.mute => {
                let quota = Quota::new(2, 0, Duration::ZERO, Duration::ZERO);
                let charge = decision.charge().clone();
                Decision::new(Outcome::Denied, decision.source(), &[quota], charge)
            }
            _ => decision,
        }))
    }

    passed_on! { inner: peek adjust reset ping sweep close }
}

/// A registry with such a backend, and the clock of both.
pub(super) struct Subject {
    pub(super) clock: ManualClock,
    pub(super) backend: Counting,
    pub(super) registry: Registry,
}

impl Subject {
    pub(super) fn new() -> Self {
        Self::with(|backend| backend)
    }

    pub(super) fn with(change: impl FnOnce(Counting) -> Counting) -> Self {
        let clock = ManualClock::new();
        let backend = change(Counting::new(clock.clone()));
        let registry = Registry::builder()
            .clock(clock.clone())
            .max_waiters(4)
            .backend("counting", backend.clone())
            .build()
            .unwrap();
        Self {
            clock,
            backend,
            registry,
        }
    }

    /// Uses up what there is of [`TWO`] for a key.
    pub(super) fn fill(&self, key: &str) {
        let registry = &self.registry;
        assert!(registry.check_blocking(&TWO, key).is_ok());
        assert!(registry.check_blocking(&TWO, key).is_ok());
    }

    pub(super) fn remaining(&self, policy: &Policy, key: &str) -> u32 {
        let peek = self.registry.peek_blocking(&Ask::new(policy, key));
        peek.unwrap().remaining()
    }

    /// Nobody waits, and nothing is kept for anybody.
    #[track_caller]
    pub(super) fn assert_empty(&self) {
        assert_eq!((self.registry.waiters(), self.clock.sleepers()), (0, 0));
    }
}
