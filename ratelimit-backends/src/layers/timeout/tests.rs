use core::future::pending;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::time::Instant;

use ratelimit_core::{Algorithm, AlgorithmSet, KeyRef, Outcome, Policy, Source};

use super::*;

const BOUND: Duration = Duration::from_millis(20);

/// Never answers, except at once.
struct Silent {
    capabilities: Capabilities,
    has_bridged: bool,
}

impl Silent {
    fn new() -> Self {
        Self {
            capabilities: Capabilities::new(AlgorithmSet::ALL),
            has_bridged: true,
        }
    }
}

impl Backend for Silent {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    fn decide<'a>(&'a self, _: &'a [Check<'a>], _: Join) -> BoxFuture<'a, Answers> {
        Box::pin(pending())
    }
    fn decide_now(&self, _: &Check<'_>) -> Option<Result<Decision, Error>> {
        Some(Ok(Decision::unlimited(Source::Store)))
    }
    fn peek<'a>(&'a self, _: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(pending())
    }
    fn adjust<'a>(&'a self, _: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(pending())
    }
    fn reset<'a>(&'a self, _: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(pending())
    }
    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(pending())
    }
    fn sweep(&self, _: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(pending())
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }
    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let bridged = Self {
            has_bridged: false,
            ..Self::new()
        };
        self.has_bridged.then(|| Arc::new(bridged) as _)
    }
}

fn policy() -> Policy {
    Policy::new("p", Algorithm::TokenBucket, "1/h".parse().unwrap())
}

fn silent() -> Arc<dyn Backend> {
    Timeout::new(BOUND).layer(Arc::new(Silent::new())).unwrap()
}

fn too_late<T: core::fmt::Debug>(answer: &Result<T, Error>) {
    let error = answer.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.message(), "no answer within 20ms");
    assert!(error.is_temporary());
}

async fn everything_is_bounded(backend: Arc<dyn Backend>) {
    let policy = policy();
    let check = Check::new(&policy, policy.limits(), KeyRef::from_bytes(b"k"));
    let checks = [check, check, check];
    let adjust = Adjust::refund(check, Decision::unlimited(Source::Store).charge().clone());
    let started = Instant::now();
    for answers in [
        backend.decide(&checks, Join::Each).await,
        backend.decide(&checks, Join::All).await,
        backend.peek(&checks).await,
        backend
            .adjust(&[adjust.clone(), adjust.clone(), adjust])
            .await,
    ] {
        assert_eq!(answers.len(), 3, "one for each");
        answers.iter().for_each(too_late);
    }
    too_late(&backend.reset(&checks).await);
    too_late(&backend.ping().await);
    too_late(&backend.sweep(Sweep::new()).await);
    backend.close().await;
    assert!(started.elapsed() >= 8 * BOUND);
    let now = backend.decide_now(&check).unwrap().unwrap();
    assert_eq!(now.outcome(), Outcome::Allowed);
}

#[tokio::test]
async fn whatever_does_not_answer_is_given_up() {
    everything_is_bounded(silent()).await;
}

#[tokio::test]
async fn so_is_the_bridged_one() {
    let bridged = silent().bridged().unwrap();
    assert!(bridged.bridged().is_none());
    everything_is_bounded(bridged).await;
}

#[test]
fn what_is_ready_stays_ready() {
    let memory = crate::memory::MemoryBackend::new();
    let backend = Timeout::default().layer(Arc::new(memory)).unwrap();
    assert!(backend.capabilities().immediate);
    let policy = policy();
    let check = Check::new(&policy, policy.limits(), KeyRef::from_bytes(b"k"));
    let mut work = pin!(backend.decide(core::slice::from_ref(&check), Join::Each));
    let Poll::Ready(answers) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits")
    };
    assert!(answers[0].as_ref().unwrap().is_allowed());
}

#[test]
fn no_time_at_all_is_a_fault() {
    let layered = Timeout::new(Duration::ZERO).layer(Arc::new(Silent::new()));
    assert_eq!(layered.err().unwrap().kind(), ErrorKind::Configuration);
    assert_eq!(Timeout::default(), Timeout::new(Duration::from_millis(100)));
}
