//! The conformance suite can fail: backends that are wrong on purpose, and the cases that find out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ratelimit::MemoryBackend;
use ratelimit_core::{
    Adjust, Algorithm, Answers, Backend, BoxFuture, Capabilities, Charge, Check, Clock, Decision,
    Error, ErrorKind, Join, KeyRef, Limits, ManualClock, Outcome, Policy, Pong, Quota, Source,
    Sweep, Swept, Timestamp,
};
use ratelimit_tests::conformance::{
    Store, Time, concurrency, errors, expiry, history, keys, promises, queue, worked,
};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Healthy,
    RemainingTooLarge,
    RetryTooShort,
    ResetTooShort,
    DenialsCharge,
    ResetsNothing,
    RefundsTwice,
    RefundsNothing,
    ChargesNoMore,
    QueueGivesBackAny,
    BatchNotUndone,
    BatchAllowsSome,
    AnswersBackwards,
    PeekCharges,
    ForgetsEarly,
    SweepsNothing,
    CutsKeys,
    JoinsNames,
    FoldsCase,
    TrimsKeys,
    CostsOne,
    NeverDelays,
    HalvesDelays,
    StoreOfItsOwn,
    DeniesTheUnsatisfiable,
    AnswersClosed,
    IgnoresLimits,
    NowChargesNothing,
    ClockNeverBack,
    CoarseClock,
    FirstRateOnly,
    ChecksThenActs,
}

use Fault::*;

#[derive(Debug)]
struct NeverBack(ManualClock, AtomicU64);

impl Clock for NeverBack {
    fn now(&self) -> Timestamp {
        let now = self.0.now().as_nanos();
        Timestamp::from_nanos(self.1.fetch_max(now, Ordering::SeqCst).max(now))
    }
}

#[derive(Debug)]
struct Coarse(ManualClock);

impl Clock for Coarse {
    fn now(&self) -> Timestamp {
        let now = self.0.now().as_nanos();
        Timestamp::from_nanos(now - now % 1_000_000)
    }
}

/// A store whose backends have a fault.
struct Faulty(Fault, OnceLock<Arc<MemoryBackend>>);

impl Store for Faulty {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let builder = MemoryBackend::builder();
        let open = || {
            Arc::new(match (self.0, time) {
                (_, Time::Own) => builder.build(),
                (ClockNeverBack, Time::Injected(clock)) => {
                    builder.clock(NeverBack(clock, AtomicU64::new(0))).build()
                }
                (CoarseClock, Time::Injected(clock)) => builder.clock(Coarse(clock)).build(),
                (_, Time::Injected(clock)) => builder.clock(clock).build(),
            })
        };
        let inner = match self.0 {
            StoreOfItsOwn => open(),
            _ => Arc::clone(self.1.get_or_init(open)),
        };
        let wrong = Arc::new(Wrong(self.0, inner));
        Box::pin(async { wrong as Arc<dyn Backend> })
    }
}

/// The memory backend with a fault.
struct Wrong(Fault, Arc<MemoryBackend>);

/// A question that was changed on its way.
struct Changed {
    policy: Policy,
    limits: Limits,
    key: Vec<u8>,
    cost: u32,
    max_delay: Duration,
}

impl Changed {
    fn check(&self) -> Check<'_> {
        Check::new(&self.policy, &self.limits, KeyRef::from_bytes(&self.key))
            .with_cost(self.cost)
            .with_max_delay(self.max_delay)
    }
}

const TICK: Duration = Duration::from_nanos(1);

impl Wrong {
    fn change(&self, check: &Check<'_>) -> Changed {
        let mut changed = Changed {
            policy: check.policy.clone(),
            limits: *check.limits,
            key: check.key.as_bytes().to_vec(),
            cost: check.cost,
            max_delay: check.max_delay,
        };
        let key = &mut changed.key;
        match self.0 {
            CutsKeys => key.truncate(1_024),
            FoldsCase => key.make_ascii_lowercase(),
            TrimsKeys => *key = key.trim_ascii_end().to_vec(),
            JoinsNames => {
                *key = [check.policy.name().as_bytes(), b":", key].concat();
                let (algorithm, limits) = (check.policy.algorithm(), *check.policy.limits());
                changed.policy = Policy::named("joined".into(), algorithm, limits);
            }
            CostsOne => changed.cost = check.cost.min(1),
            NeverDelays => changed.max_delay = Duration::ZERO,
            IgnoresLimits => changed.limits = *check.policy.limits(),
            FirstRateOnly => changed.limits = Limits::new(check.limits.as_slice()[0]),
            _ => {}
        }
        changed
    }

    fn tell(&self, decision: &Decision) -> Decision {
        let quota = |quota: Quota| {
            let mut quota = quota;
            match self.0 {
                RemainingTooLarge if quota.remaining < quota.limit => quota.remaining += 1,
                RetryTooShort => quota.retry_after = quota.retry_after.saturating_sub(TICK),
                ResetTooShort => quota.reset_after = quota.reset_after.saturating_sub(TICK),
                _ => {}
            }
            quota
        };
        let outcome = match decision.outcome() {
            Outcome::AllowedAfter(delay) if self.0 == HalvesDelays => {
                Outcome::AllowedAfter(delay / 2)
            }
            outcome => outcome,
        };
        let quotas: Vec<_> = decision.quotas().map(quota).collect();
        Decision::new(outcome, Source::Store, &quotas, decision.charge().clone())
    }

    fn answer(&self, answer: Result<Decision, Error>) -> Result<Decision, Error> {
        match answer {
            Ok(decision) => Ok(self.tell(&decision)),
            Err(error)
                if self.0 == DeniesTheUnsatisfiable && error.kind() == ErrorKind::Unsatisfiable =>
            {
                let quota = Quota::new(1, 0, Duration::MAX, Duration::MAX);
                let charge = Charge::default();
                Ok(Decision::new(
                    Outcome::Denied,
                    Source::Store,
                    &[quota],
                    charge,
                ))
            }
            Err(error) => Err(error),
        }
    }

    /// What some faults do before a question is answered.
    async fn meddle(&self, checks: &[Check<'_>]) {
        let inner = &self.1;
        for check in checks {
            let one = core::slice::from_ref(check);
            let Ok(peeked) = inner.peek(one).await.remove(0) else {
                continue;
            };
            if self.0 == ForgetsEarly && peeked.reset_after() == TICK {
                let _ = inner.reset(one).await;
            }
            if self.0 == DenialsCharge && !peeked.is_allowed() {
                let rest = check.with_cost(peeked.remaining());
                let _ = inner.decide(&[rest], Join::Each).await;
            }
            if self.0 == ChecksThenActs {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        }
    }

    async fn act(&self, checks: &[Check<'_>], join: Join) -> Answers {
        let inner = &self.1;
        match (self.0, join) {
            (ChecksThenActs, Join::Each) => {
                let mut answers = inner.peek(checks).await;
                self.meddle(checks).await;
                let decided = inner.decide(checks, join).await;
                for (answer, decided) in answers.iter_mut().zip(decided) {
                    if let (Ok(peeked), Ok(decided)) = (&answer, &decided) {
                        *answer = Ok(decided.clone().with_outcome(peeked.outcome()));
                    }
                }
                answers
            }
            (BatchNotUndone, Join::All) => {
                let answers = inner.decide(checks, Join::Each).await;
                if answers.iter().flatten().all(Decision::is_allowed) {
                    return answers;
                }
                let deny = |decision: Decision| decision.with_outcome(Outcome::Denied);
                answers.into_iter().map(|answer| answer.map(deny)).collect()
            }
            (BatchAllowsSome, Join::All) => {
                let allow = |decision: Decision| match decision.retry_after() {
                    Duration::ZERO => decision.with_outcome(Outcome::Allowed),
                    _ => decision,
                };
                let answers = inner.decide(checks, join).await;
                answers
                    .into_iter()
                    .map(|answer| answer.map(allow))
                    .collect()
            }
            _ => {
                if matches!(self.0, ForgetsEarly | DenialsCharge) {
                    self.meddle(checks).await;
                }
                inner.decide(checks, join).await
            }
        }
    }
}

impl Backend for Wrong {
    fn capabilities(&self) -> &Capabilities {
        self.1.capabilities()
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let changed: Vec<_> = checks.iter().map(|check| self.change(check)).collect();
            let checks: Vec<_> = changed.iter().map(Changed::check).collect();
            let answers = self.act(&checks, join).await.into_iter();
            let mut answers: Answers = answers.map(|answer| self.answer(answer)).collect();
            if self.0 == AnswersBackwards {
                answers.reverse();
            }
            answers
        })
    }

    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        if matches!(self.0, ForgetsEarly | DenialsCharge | ChecksThenActs) {
            return None;
        }
        let mut changed = self.change(check);
        if self.0 == NowChargesNothing {
            changed.cost = 0;
        }
        let answer = self.1.decide_now(&changed.check())?;
        Some(self.answer(answer))
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let changed: Vec<_> = checks.iter().map(|check| self.change(check)).collect();
            let checks: Vec<_> = changed.iter().map(Changed::check).collect();
            if self.0 == ForgetsEarly {
                self.meddle(&checks).await;
            }
            let answers = match self.0 {
                PeekCharges => self.1.decide(&checks, Join::Each).await,
                _ => self.1.peek(&checks).await,
            };
            answers
                .into_iter()
                .map(|answer| self.answer(answer))
                .collect()
        })
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for adjust in adjusts {
                let changed = self.change(&adjust.check);
                let (mut by, mut charge) = (adjust.by, adjust.charge.clone());
                match self.0 {
                    RefundsNothing if by < 0 => by = 0,
                    ChargesNoMore if by > 0 => by = 0,
                    RefundsTwice if by < 0 => {
                        let once = Adjust::new(changed.check(), charge.clone(), by);
                        self.1.adjust(&[once]).await;
                    }
                    QueueGivesBackAny => {
                        let full_at: Vec<_> = charge.full_at().collect();
                        charge = Charge::new(charge.at(), charge.cost()).with_full_at(&full_at);
                    }
                    _ => {}
                }
                let adjust = Adjust::new(changed.check(), charge, by);
                answers.extend(self.1.adjust(&[adjust]).await);
            }
            answers
                .into_iter()
                .map(|answer| self.answer(answer))
                .collect()
        })
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if self.0 == ResetsNothing {
                return Ok(());
            }
            let changed: Vec<_> = checks.iter().map(|check| self.change(check)).collect();
            let checks: Vec<_> = changed.iter().map(Changed::check).collect();
            self.1.reset(&checks).await
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.1.ping()
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        match self.0 {
            SweepsNothing => Box::pin(async { Ok(Swept::new(0, 0)) }),
            _ => self.1.sweep(sweep),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        match self.0 {
            AnswersClosed => Box::pin(async {}),
            _ => self.1.close(),
        }
    }
}

type Case = fn(&dyn Store, Algorithm);

/// Whether a case passes on a new store with that fault, under every algorithm given.
fn passes(fault: Fault, case: Case, algorithms: &[Algorithm]) -> bool {
    algorithms.iter().all(|algorithm| {
        let store = Faulty(fault, OnceLock::new());
        catch_unwind(AssertUnwindSafe(|| case(&store, *algorithm))).is_ok()
    })
}

fn histories(store: &dyn Store, algorithm: Algorithm) {
    history::some(store, algorithm, 12);
}

fn queued(store: &dyn Store, _: Algorithm) {
    queue::calls_come_out_evenly_spaced(store);
}

fn given_back(store: &dyn Store, _: Algorithm) {
    queue::only_the_last_place_is_given_back(store);
}

fn closed(store: &dyn Store, _: Algorithm) {
    errors::a_closed_backend_says_so(store);
}

/// The case passes without the fault, and fails with it, whatever the algorithm.
macro_rules! found {
    ($($name:ident: $fault:ident $case:expr, $algorithms:expr;)*) => {$(
        #[test]
        fn $name() {
            let algorithms: &[Algorithm] = $algorithms;
            for algorithm in algorithms {
                assert!(passes(Healthy, $case, &[*algorithm]), "{algorithm}");
                assert!(!passes($fault, $case, &[*algorithm]), "{algorithm}: not found");
            }
        }
    )*};
}

const LEAKY: &[Algorithm] = &[Algorithm::LeakyBucket];
const ALL: &[Algorithm] = &Algorithm::ALL;

found! {
    one_too_many_remain: RemainingTooLarge worked::examples, ALL;
    retrying_a_tick_too_early: RetryTooShort promises::retrying_in_time, ALL;
    full_a_tick_too_early: ResetTooShort worked::examples, ALL;
    denials_charge: DenialsCharge worked::examples, ALL;
    resets_do_nothing: ResetsNothing promises::a_reset_is_a_fresh_key, ALL;
    refunds_twice: RefundsTwice promises::what_is_given_back_can_be_spent, ALL;
    refunds_nothing: RefundsNothing promises::what_is_given_back_can_be_spent, ALL;
    charges_no_more: ChargesNoMore promises::what_is_given_back_can_be_spent, ALL;
    any_place_is_given_back: QueueGivesBackAny given_back, LEAKY;
    a_batch_is_not_undone: BatchNotUndone concurrency::joined_checks_lose_nothing, ALL;
    a_batch_is_allowed_in_part: BatchAllowsSome histories, ALL;
    answers_out_of_order: AnswersBackwards errors::a_cost_that_can_never_fit, ALL;
    a_peek_charges: PeekCharges worked::examples, ALL;
    a_key_is_forgotten_a_tick_early: ForgetsEarly expiry::what_is_live_is_kept, ALL;
    a_sweep_does_nothing: SweepsNothing expiry::nothing_is_left_behind, ALL;
    long_keys_are_cut: CutsKeys keys::long_keys_that_differ_in_a_byte, ALL;
    names_are_joined: JoinsNames keys::no_key_is_taken_for_another, ALL;
    case_is_folded: FoldsCase keys::no_key_is_taken_for_another, ALL;
    blanks_are_trimmed: TrimsKeys keys::no_key_is_taken_for_another, ALL;
    every_cost_is_one: CostsOne worked::examples, ALL;
    nothing_is_delayed: NeverDelays queued, LEAKY;
    delays_are_halved: HalvesDelays queued, LEAKY;
    each_instance_has_its_own_store: StoreOfItsOwn concurrency::exactly_the_limit, ALL;
    the_unsatisfiable_is_denied: DeniesTheUnsatisfiable errors::a_cost_that_can_never_fit, ALL;
    a_closed_backend_answers: AnswersClosed closed, LEAKY;
    changed_limits_are_ignored: IgnoresLimits histories, ALL;
    deciding_now_charges_nothing: NowChargesNothing concurrency::exactly_the_limit, ALL;
    the_clock_never_steps_back: ClockNeverBack histories, ALL;
    the_clock_is_coarse: CoarseClock promises::retrying_in_time, ALL;
    only_the_first_rate_counts: FirstRateOnly promises::several_rates_are_all_or_nothing, ALL;
    checks_and_then_acts: ChecksThenActs concurrency::exactly_the_limit, ALL;
}
