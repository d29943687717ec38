//! A store in memory that has to be waited for, and processes that ask it.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use ratelimit_core::{
    Adjust, Answers, BoxFuture, Capabilities, Check, Join, ManualClock, Pong, Sweep, Swept,
};
use tokio::sync::Semaphore;

use super::*;
use crate::memory::MemoryBackend;

/// A store that answers when it is let, or fails, and remembers what it was asked.
pub(super) struct Store {
    pub(super) memory: MemoryBackend,
    pub(super) capabilities: Capabilities,
    pub(super) gate: Semaphore,
    /// Whoever has passed the gate and was decided has to pass this one to hear so.
    pub(super) answers: Semaphore,
    /// Whoever resets has to pass this one before.
    pub(super) resets: Semaphore,
    /// Whoever gives back has to pass this one before.
    pub(super) returns: Semaphore,
    pub(super) closed: AtomicBool,
    pub(super) fails: AtomicBool,
    /// It says that somebody else decides.
    pub(super) speaks_for: Mutex<Option<Source>>,
    /// Each check is decided so much later than the one before it.
    pub(super) pace: Mutex<Option<Duration>>,
    clock: ManualClock,
    /// The costs of each call.
    pub(super) calls: Mutex<Vec<Vec<u32>>>,
    /// What was given back.
    back: Mutex<Vec<i64>>,
}

impl Store {
    pub(super) fn new(clock: &ManualClock) -> Arc<Self> {
        let memory = MemoryBackend::builder().clock(clock.clone()).build();
        let capabilities = memory.capabilities().clone().with_immediate(false);
        Arc::new(Self {
            memory,
            capabilities,
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            answers: Semaphore::new(Semaphore::MAX_PERMITS),
            resets: Semaphore::new(Semaphore::MAX_PERMITS),
            returns: Semaphore::new(Semaphore::MAX_PERMITS),
            closed: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            speaks_for: Mutex::default(),
            pace: Mutex::default(),
            clock: clock.clone(),
            calls: Mutex::default(),
            back: Mutex::default(),
        })
    }

    pub(super) fn calls(&self) -> Vec<Vec<u32>> {
        core::mem::take(&mut *self.calls.lock().unwrap())
    }

    pub(super) fn back(&self) -> Vec<i64> {
        core::mem::take(&mut *self.back.lock().unwrap())
    }

    /// Lets nobody through.
    pub(super) fn shut(gate: &Semaphore) {
        gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) async fn remaining(&self, check: Check<'_>) -> u32 {
        let answers = self.memory.peek(&[check.with_cost(0)]).await;
        answers[0].as_ref().unwrap().remaining()
    }
}

fn error() -> Error {
    Error::new(ErrorKind::Connection, "on purpose")
}

impl Backend for Store {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let costs = checks.iter().map(|check| check.cost).collect();
            self.calls.lock().unwrap().push(costs);
            self.gate.acquire().await.unwrap().forget();
            if self.fails.load(Ordering::SeqCst) {
                return vec![Err(error()); checks.len()];
            }
            let pace = *self.pace.lock().unwrap();
            let mut answers = Answers::new();
            for part in checks.chunks(if pace.is_some() {
                1
            } else {
                checks.len().max(1)
            }) {
                answers.extend(self.memory.decide(part, join).await);
                self.clock.advance(pace.unwrap_or_default());
            }
            if let Some(source) = *self.speaks_for.lock().unwrap() {
                let said = answers.into_iter();
                answers = said
                    .map(|answer| answer.map(|decision| decision.with_source(source)))
                    .collect();
            }
            self.answers.acquire().await.unwrap().forget();
            answers
        })
    }
    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        self.memory.peek(checks)
    }
    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        let by = adjusts.iter().map(|adjust| adjust.by);
        self.back.lock().unwrap().extend(by);
        if self.fails.load(Ordering::SeqCst) {
            let errors = vec![Err(error()); adjusts.len()];
            return Box::pin(async { errors });
        }
        Box::pin(async move {
            self.returns.acquire().await.unwrap().forget();
            self.memory.adjust(adjusts).await
        })
    }
    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.resets.acquire().await.unwrap().forget();
            self.memory.reset(checks).await
        })
    }
    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.memory.ping()
    }
    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        self.memory.sweep(sweep)
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        // Others still ask it.
        self.closed.store(true, Ordering::SeqCst);
        Box::pin(async {})
    }
}

/// A store that serves callers that block as well.
pub(super) struct Bridged(pub(super) Arc<Store>);

impl Backend for Bridged {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }
    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        self.0.decide(checks, join)
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
    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        Some(Arc::clone(&self.0) as Arc<dyn Backend>)
    }
}

/// A store, and processes that ask it.
pub(super) struct Scene {
    pub(super) clock: ManualClock,
    pub(super) store: Arc<Store>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let clock = ManualClock::new();
        let store = Store::new(&clock);
        Self { clock, store }
    }

    pub(super) fn process(&self) -> (Arc<dyn Backend>, LeaseStats) {
        self.process_with(Lease::new())
    }

    pub(super) fn process_with(&self, lease: Lease) -> (Arc<dyn Backend>, LeaseStats) {
        let lease = lease.clock(self.clock.clone());
        let inner = Arc::clone(&self.store) as Arc<dyn Backend>;
        (lease.layer(inner).unwrap(), lease.stats())
    }
}
