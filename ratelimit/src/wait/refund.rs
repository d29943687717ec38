//! Gives back what was charged for a call that gave up: [`Asking`] while the backend is asked,
//! [`Reservation`] while it waits for its turn to leave.
//!
//! A future that is dropped must not block, so that what needs I/O is left to the background thread.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Answers, BoxFuture, Check, Decision, Error, Join, OwnedCheck, Source,
};

use crate::bridge;
use crate::registry::{Entry, Inner, Plan, decide_owned, single};

/// A question whose answer may have to be taken back.
struct Refund {
    registry: Arc<Inner>,
    entry: Arc<Entry>,
    check: OwnedCheck,
}

impl Refund {
    fn new(plan: Plan<'_>, entry: &Arc<Entry>, check: &Check<'_>) -> Self {
        Self {
            registry: Arc::clone(plan.registry()),
            entry: Arc::clone(entry),
            check: check.to_owned(),
        }
    }

    /// Gives back what this decision charged, as far as its backend can.
    fn give_back(self, decision: &Decision) {
        let Self {
            registry,
            entry,
            check,
        } = self;
        let charge = decision.charge().clone();
        if charge.cost() == 0 || matches!(decision.source(), Source::Open | Source::Unlimited) {
            return;
        }
        if decision.source() == Source::Local {
            let adjust = Adjust::refund(check.as_check(), charge);
            said(registry.adjust_locally(&adjust));
            return;
        }
        let capabilities = entry.backend().capabilities();
        let algorithm = check.as_check().policy.algorithm();
        if !capabilities.refund.contains(algorithm) {
            return;
        }
        if capabilities.immediate {
            let adjust = [Adjust::refund(check.as_check(), charge)];
            said(bridge::poll_now(entry.backend().adjust(&adjust)).and_then(single));
            return;
        }
        said(bridge::spawn(async move {
            let adjust = [Adjust::refund(check.as_check(), charge)];
            said(single(entry.bridged().adjust(&adjust).await));
        }));
    }
}

/// Nobody is there any more to be told.
fn said<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        tracing::debug!(%error, "the charge of a call that gave up was not given back");
    }
}

/// A backend that decides elsewhere, being asked by a task. If the task gives up, what the backend
/// admits all the same is given back.
pub(super) struct Asking {
    answers: Option<BoxFuture<'static, Answers>>,
    refund: Option<Refund>,
}

impl Asking {
    pub(super) fn new(plan: Plan<'_>, entry: &Arc<Entry>, check: &Check<'_>) -> Self {
        let (backend, checks) = (Arc::clone(entry.backend()), vec![check.to_owned()]);
        Self {
            answers: Some(Box::pin(decide_owned(backend, checks, Join::Each))),
            refund: Some(Refund::new(plan, entry, check)),
        }
    }
}

impl Future for Asking {
    type Output = Answers;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answers> {
        // It is not put back if it panics, and then not polled again.
        let Some(mut answers) = self.answers.take() else {
            return Poll::Ready(Answers::new());
        };
        let polled = answers.as_mut().poll(context);
        if polled.is_pending() {
            self.answers = Some(answers);
        }
        polled
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let (Some(answers), Some(refund)) = (self.answers.take(), self.refund.take()) else {
            return;
        };
        let timeout = refund.registry.blocking_timeout();
        said(bridge::spawn(async move {
            if let Ok(answers) = tokio::time::timeout(timeout, answers).await
                && let Ok(decision) = single(answers)
            {
                refund.give_back(&decision);
            }
        }));
    }
}

/// A place in a smoothing queue, which is given back if the call does not take it.
pub(super) struct Reservation<'a> {
    decision: &'a Decision,
    refund: Option<Refund>,
}

impl<'a> Reservation<'a> {
    pub(super) fn new(
        plan: Plan<'_>,
        entry: &Arc<Entry>,
        check: &Check<'_>,
        decision: &'a Decision,
    ) -> Self {
        let refund = Some(Refund::new(plan, entry, check));
        Self { decision, refund }
    }

    /// The call takes it.
    pub(super) fn take(mut self) {
        self.refund = None;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(refund) = self.refund.take() {
            refund.give_back(self.decision);
        }
    }
}
