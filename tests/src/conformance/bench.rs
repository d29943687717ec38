//! [`Bench`]: instances of a backend on one store, and the clock that they read.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Algorithm, Answers, Backend, Capabilities, Charge, Check, Clock, Decision, Error, Join,
    KeyRef, Limits, ManualClock, Policy, Timestamp,
};
use tokio::runtime::{Builder, Runtime};

use super::{Store, Time};

/// Instances of a backend on one store. Questions go to each of them in turn.
#[derive(Debug)]
pub struct Bench {
    runtime: Runtime,
    instances: Vec<Instance>,
    clock: Option<ManualClock>,
    turn: AtomicUsize,
    policies: AtomicUsize,
}

/// A backend, which need not be printable.
#[derive(Clone)]
struct Instance(Arc<dyn Backend>);

impl core::fmt::Debug for Instance {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.capabilities().fmt(f)
    }
}

impl Bench {
    /// Three instances that read one clock, which only moves when told to.
    pub fn injected(store: &dyn Store) -> Self {
        let clock = ManualClock::new();
        Self::open(store, &Time::Injected(clock.clone()), Some(clock))
    }

    /// Three instances that read whatever clock they have.
    pub fn own(store: &dyn Store) -> Self {
        Self::open(store, &Time::Own, None)
    }

    /// The same as [`injected`](Self::injected), if the backend has the algorithm.
    pub fn with(store: &dyn Store, algorithm: Algorithm) -> Option<Self> {
        Some(Self::injected(store)).filter(|bench| bench.has(algorithm))
    }

    fn open(store: &dyn Store, time: &Time, clock: Option<ManualClock>) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let instances = (0..3)
            .map(|_| Instance(runtime.block_on(store.open(time.clone()))))
            .collect();
        Self {
            runtime,
            instances,
            clock,
            turn: AtomicUsize::new(0),
            policies: AtomicUsize::new(0),
        }
    }

    /// What the backend says it can do.
    pub fn capabilities(&self) -> &Capabilities {
        self.instances[0].0.capabilities()
    }

    /// Whether it has the algorithm.
    pub fn has(&self, algorithm: Algorithm) -> bool {
        self.capabilities().algorithms.contains(algorithm)
    }

    /// Whether it can correct charges of that algorithm.
    pub fn refunds(&self, algorithm: Algorithm) -> bool {
        self.capabilities().refund.contains(algorithm)
    }

    /// Whether its clock is fine enough for these limits, and its log long enough.
    pub fn can(&self, algorithm: Algorithm, limits: &Limits) -> bool {
        self.has(algorithm) && self.capabilities().refuse(algorithm, limits).is_none()
    }

    /// The tick of the store's clock.
    pub fn tick(&self) -> Duration {
        self.capabilities().resolution.max(Duration::from_nanos(1))
    }

    /// The clock that the instances read.
    pub fn clock(&self) -> &ManualClock {
        self.clock.as_ref().expect("an injected clock")
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.clock().advance(time);
    }

    /// A policy that nobody asked for before.
    pub fn policy(&self, algorithm: Algorithm, limits: Limits) -> Policy {
        let number = self.policies.fetch_add(1, Ordering::Relaxed);
        let name = format!("conformance {number}");
        Policy::named(name.into(), algorithm, limits)
    }

    /// The same, its limits as text.
    pub fn policy_of(&self, algorithm: Algorithm, limits: &str) -> Policy {
        self.policy(algorithm, limits.parse().expect("limits"))
    }

    /// The backend whose turn it is.
    pub fn next(&self) -> &Arc<dyn Backend> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.instances[turn % self.instances.len()].0
    }

    /// Runs something to its end.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Waits, in real time.
    pub fn sleep(&self, time: Duration) {
        self.run(async { tokio::time::sleep(time).await });
    }

    /// Runs something beside others.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// Decides several checks.
    pub fn decide_all(&self, checks: &[Check<'_>], join: Join) -> Answers {
        let answers = self.run(self.next().decide(checks, join));
        assert_eq!(answers.len(), checks.len(), "one answer for each check");
        answers
    }

    /// Decides one check without I/O, where the backend can.
    pub fn decide_now(&self, check: &Check<'_>) -> Result<Decision, Error> {
        let now = self.next().decide_now(check);
        now.unwrap_or_else(|| self.decide_waiting(check))
    }

    fn decide_waiting(&self, check: &Check<'_>) -> Result<Decision, Error> {
        let mut answers = self.decide_all(core::slice::from_ref(check), Join::Each);
        answers.pop().expect("one answer")
    }

    /// Decides one check, with I/O or without in turn.
    pub fn try_decide(&self, check: &Check<'_>) -> Result<Decision, Error> {
        match self.turn.load(Ordering::Relaxed) % 2 {
            0 => self.decide_now(check),
            _ => self.decide_waiting(check),
        }
    }

    /// Decides one check, which the backend must be able to.
    pub fn decide(&self, check: &Check<'_>) -> Decision {
        self.try_decide(check).expect("a decision")
    }

    /// Peeks at several.
    pub fn peek_all(&self, checks: &[Check<'_>]) -> Answers {
        let answers = self.run(self.next().peek(checks));
        assert_eq!(answers.len(), checks.len(), "one answer for each check");
        answers
    }

    /// Peeks at one.
    pub fn peek(&self, check: &Check<'_>) -> Decision {
        let mut answers = self.peek_all(core::slice::from_ref(check));
        answers.pop().expect("one answer").expect("a decision")
    }

    /// Corrects several charges.
    pub fn adjust_all(&self, adjusts: &[Adjust<'_>]) -> Answers {
        let answers = self.run(self.next().adjust(adjusts));
        assert_eq!(answers.len(), adjusts.len(), "one answer for each");
        answers
    }

    /// Corrects one charge.
    pub fn adjust(&self, check: Check<'_>, charge: &Charge, by: i64) -> Decision {
        let mut answers = self.adjust_all(&[Adjust::new(check, charge.clone(), by)]);
        answers.pop().expect("one answer").expect("a decision")
    }

    /// Makes keys fresh.
    pub fn reset(&self, checks: &[Check<'_>]) {
        self.run(self.next().reset(checks)).expect("a reset");
    }

    /// Spends everything that is left, one unit at a time, at most so many; answers how many.
    pub fn spend(&self, check: &Check<'_>, most: u32) -> u32 {
        let admitted = (0..most).take_while(|_| self.decide(check).is_allowed());
        u32::try_from(admitted.count()).expect("at most that many")
    }
}

/// A check of one unit for a key of these bytes.
pub fn check<'a>(policy: &'a Policy, key: &'a [u8]) -> Check<'a> {
    Check::new(policy, policy.limits(), KeyRef::from_bytes(key))
}

/// Whether a call under such an algorithm can be made to wait.
pub fn is_bucket(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::TokenBucket | Algorithm::LeakyBucket | Algorithm::Gcra
    )
}
