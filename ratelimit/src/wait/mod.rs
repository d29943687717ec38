//! Waiting for a place: what becomes of a call that may wait before it is rejected.
//!
//! - `queue`: who waits under which policy and key, in which order; `place`: one of them.
//! - `sleep`: what wakes a caller at an instant; `parker`: a caller that is a thread.
//! - `refund`: gives back what was charged for a call that gave up.
//!
//! Under the leaky bucket the backend itself says how long a call waits, and the bucket is the
//! queue. Under the other algorithms those who wait queue here, and the first of them asks again
//! when the backend said that there is a place. Threads and tasks run the same code, so that they
//! stand in the same queue.

mod parker;
mod place;
mod queue;
mod refund;
mod sleep;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{
    Algorithm, Check, ClockKind, Decision, Error, ErrorKind, KeyBuf, Source, Timestamp,
};

use crate::Rejection;
use crate::bridge;
use crate::registry::{Entry, Plan, single};
use parker::Parker;
use place::{Place, Turn};
use queue::{Known, Out, Waiter};
use refund::{Asking, Reservation};
use sleep::{Caller, Sleeper};

pub(crate) use queue::Queues;

/// Decides a call that may wait, without blocking the thread.
pub(crate) async fn ask(
    plan: Plan<'_>,
    entry: &Arc<Entry>,
    check: Check<'_>,
) -> Result<Decision, Rejection> {
    admit(plan, entry, check, Caller::Task).await
}

/// Decides a call that may wait, and parks the thread meanwhile.
pub(crate) fn ask_blocking(
    plan: Plan<'_>,
    entry: &Arc<Entry>,
    check: Check<'_>,
) -> Result<Decision, Rejection> {
    if bridge::is_here() {
        // Nobody would wake those who wait for this thread's timers.
        return Err(Rejection::Unavailable(bridge::refuses()));
    }
    let (parker, clock) = (Arc::<Parker>::default(), plan.registry().clock());
    let caller = Caller::Thread(Arc::clone(&parker));
    parker.block_on(&**clock, admit(plan, entry, check, caller))
}

async fn admit(
    plan: Plan<'_>,
    entry: &Arc<Entry>,
    check: Check<'_>,
    caller: Caller,
) -> Result<Decision, Rejection> {
    let asker = Asker { plan, entry };
    let mut sleeper = Sleeper::new(Arc::clone(plan.registry().clock()), caller);
    if check.policy.algorithm() == Algorithm::LeakyBucket {
        asker.reserve(&check, &mut sleeper).await
    } else {
        asker.queue(&check, &mut sleeper).await
    }
}

/// Why a backend cannot make calls wait under that algorithm, if it cannot.
pub(crate) fn refuse(entry: &Entry, algorithm: Algorithm) -> Option<Error> {
    let delayed = &entry.backend().capabilities().delay;
    if algorithm != Algorithm::LeakyBucket || delayed.contains(algorithm) {
        return None;
    }
    let message = "it cannot give a call of a `leaky_bucket` its place in the queue, which `wait` \
                   asks for; remove `wait`, or use `token_bucket` or another backend";
    Some(Error::new(ErrorKind::Unsupported, message).with_backend(entry.name().to_owned()))
}

struct Asker<'a> {
    plan: Plan<'a>,
    entry: &'a Arc<Entry>,
}

impl Asker<'_> {
    /// The smoothing queue of the leaky bucket: the place is charged at once, then it is waited for.
    async fn reserve(
        &self,
        check: &Check<'_>,
        sleeper: &mut Sleeper,
    ) -> Result<Decision, Rejection> {
        let check = check.with_max_delay(self.plan.wait());
        let before = sleeper.now();
        let answer = self.decide(&check, sleeper.caller()).await;
        let now = sleeper.now();
        let decision = self.plan.conclude(&check, answer)?;
        let delay = decision.delay();
        if !delay.is_zero() {
            let leaves_at = self.decided_at(&decision, before, now).plus(delay);
            let reservation = Reservation::new(self.plan, self.entry, &check, &decision);
            let slept = sleeper.until(leaves_at).await;
            slept.map_err(Rejection::Unavailable)?;
            reservation.take();
        }
        Ok(decision)
    }

    /// The queue of this process.
    async fn queue(&self, check: &Check<'_>, sleeper: &mut Sleeper) -> Result<Decision, Rejection> {
        let queues = self.plan.registry().queues();
        let began = sleeper.now();
        let waiter = Waiter {
            deadline: began.plus(self.plan.wait()),
            cost: check.cost,
            comparable: !self.plan.is_dynamic(),
        };
        let mut key = None;
        let mut joined = None;
        if queues.waiting() > 0 {
            let key = key.insert(self.key(check));
            joined = queues
                .join(key, waiter, began)
                .map_err(Rejection::Limited)?;
        }
        let id = match joined {
            Some(id) => id,
            None => {
                let answer = self.decide(check, sleeper.caller()).await;
                let entered =
                    self.denial(&answer, began, sleeper.now())
                        .and_then(|(denial, retry_at)| {
                            let key = key.get_or_insert_with(|| self.key(check));
                            queues.enter(key, waiter, denial, retry_at)
                        });
                match entered {
                    Some(id) => id,
                    None => return self.plan.conclude(check, answer),
                }
            }
        };
        let key = key.unwrap_or_default();
        let place = Place::new(queues, &key, id);
        loop {
            let turn = place.turn(sleeper).await;
            match turn.map_err(Rejection::Unavailable)? {
                Turn::Ask => {}
                Turn::Leave(Out::Limited(decision)) => return Err(Rejection::Limited(decision)),
                Turn::Leave(Out::Failed(error)) => return self.plan.conclude(check, Err(error)),
            }
            let before = sleeper.now();
            let answer = self.decide(check, sleeper.caller()).await;
            let denied = self.denial(&answer, before, sleeper.now());
            if !place.answered(&answer, denied) {
                return self.plan.conclude(check, answer);
            }
        }
    }

    /// Which queue a call belongs to.
    fn key(&self, check: &Check<'_>) -> KeyBuf {
        let (policy, backend) = (check.policy, self.entry.name());
        let algorithm = policy.algorithm().name();
        KeyBuf::of(&(backend, policy.name(), algorithm, check.key))
    }

    async fn decide(&self, check: &Check<'_>, caller: &Caller) -> Result<Decision, Error> {
        if let Some(answer) = self.entry.backend().decide_now(check) {
            return answer;
        }
        match caller {
            Caller::Task => single(Asking::new(self.plan, self.entry, check).await),
            Caller::Thread(_) => self.plan.decide_elsewhere(self.entry, check),
        }
    }

    /// A denial, and when the same call would succeed.
    fn denial(
        &self,
        answer: &Result<Decision, Error>,
        before: Timestamp,
        now: Timestamp,
    ) -> Option<(Known, Timestamp)> {
        let decision = answer.as_ref().ok()?;
        if decision.is_allowed() {
            return None;
        }
        let at = self.decided_at(decision, before, now);
        let retry_after = match decision.retry_after() {
            // It does not say: that must not make us ask without end.
            Duration::ZERO => Duration::from_millis(1),
            retry_after => retry_after,
        };
        let decision = decision.clone();
        Some((Known { decision, at }, at.plus(retry_after)))
    }

    /// The instant, by the clock of those who wait, from which a decision's times count. Where the
    /// backend's clock was injected it is most often the same one, which may have been moved since;
    /// what decides when a backend failed has the same one always.
    fn decided_at(&self, decision: &Decision, before: Timestamp, now: Timestamp) -> Timestamp {
        let at = decision.charge().at();
        let same_clock = decision.source() == Source::Local
            || self.entry.backend().capabilities().clock == ClockKind::Injected;
        if same_clock && (before..=now).contains(&at) {
            at
        } else {
            now
        }
    }
}
