//! What is remembered and for how long, against a backend that is told what to answer; whole histories are in
//! `histories`, what happens at the same time in `races`.

mod histories;
mod races;

use std::sync::Mutex;

use ratelimit_core::{
    Adjust, Algorithm, AlgorithmSet, Answers, BoxFuture, Capabilities, Charge, Check, Decision,
    Join, KeyRef, ManualClock, Outcome, Policy, Pong, Quota, Source, Sweep, Swept,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A backend that says what it is told to, and which questions it was asked.
#[derive(Default)]
struct Scripted {
    capabilities: Option<Capabilities>,
    /// What is answered; the last of them from then on.
    script: Mutex<Vec<Result<Decision, Error>>>,
    /// The costs of all checks that were decided, batch by batch.
    asked: Mutex<Vec<Vec<u32>>>,
    decides_now: bool,
    /// How many answers more than questions it gives.
    surplus: isize,
}

static ALL: Capabilities = Capabilities::new(AlgorithmSet::ALL);

impl Scripted {
    fn saying(script: impl Into<Vec<Result<Decision, Error>>>) -> Self {
        Self {
            script: Mutex::new(script.into()),
            ..Self::default()
        }
    }

    fn say(&self) -> Result<Decision, Error> {
        let mut script = self.script.lock().unwrap();
        match script.len() {
            1 => script[0].clone(),
            _ => script.remove(0),
        }
    }

    fn asked(&self) -> Vec<Vec<u32>> {
        core::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Backend for Scripted {
    fn capabilities(&self) -> &Capabilities {
        self.capabilities.as_ref().unwrap_or(&ALL)
    }
    fn decide<'a>(&'a self, checks: &'a [Check<'a>], _: Join) -> BoxFuture<'a, Answers> {
        let costs = checks.iter().map(|check| check.cost).collect();
        self.asked.lock().unwrap().push(costs);
        let answers = checks.len().saturating_add_signed(self.surplus);
        let answers: Answers = (0..answers).map(|_| self.say()).collect();
        Box::pin(async { answers })
    }
    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        self.decides_now.then(|| {
            self.asked.lock().unwrap().push(vec![check.cost]);
            self.say()
        })
    }
    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        self.decide(checks, Join::Each)
    }
    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        let answers = vec![Ok(allowed()); adjusts.len()];
        Box::pin(async { answers })
    }
    fn reset<'a>(&'a self, _: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Err(error()) })
    }
    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        Box::pin(async { Ok(Pong::new(SECOND)) })
    }
    fn sweep(&self, _: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(async { Ok(Swept::new(3, 4)) })
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        Some(Arc::new(Self::saying([Err(error())])))
    }
}

fn error() -> Error {
    Error::new(ErrorKind::Connection, "on purpose")
}

fn allowed() -> Decision {
    let quota = Quota::new(5, 1, Duration::ZERO, SECOND);
    Decision::new(
        Outcome::Allowed,
        Source::Store,
        &[quota],
        Charge::new(ManualClock::new().now(), 1),
    )
}

/// A denial of two rates, the second of which binds.
fn denied(retry_after: Duration) -> Decision {
    let quotas = [
        Quota::new(5, 2, Duration::ZERO, 2 * retry_after),
        Quota::new(9, 0, retry_after, 3 * retry_after),
    ];
    Decision::new(Outcome::Denied, Source::Store, &quotas, Charge::default())
}

fn policy() -> Policy {
    Policy::new("p", Algorithm::TokenBucket, "5/s".parse().unwrap())
}

fn check<'a>(policy: &'a Policy, key: &'a [u8]) -> Check<'a> {
    Check::new(policy, policy.limits(), KeyRef::from_bytes(key))
}

struct Scene {
    inner: Arc<Scripted>,
    clock: ManualClock,
    stats: DenialStats,
    backend: Arc<dyn Backend>,
}

impl Scene {
    fn of(inner: Scripted) -> Self {
        Self::with(inner, DenialCache::new().max_age(10 * SECOND))
    }

    fn with(inner: Scripted, cache: DenialCache) -> Self {
        let (inner, clock) = (Arc::new(inner), ManualClock::new());
        let cache = cache.clock(clock.clone());
        let backend = cache.layer(Arc::clone(&inner) as _).unwrap();
        let stats = cache.stats();
        Self {
            inner,
            clock,
            stats,
            backend,
        }
    }

    async fn decide(&self, check: Check<'_>) -> Result<Decision, Error> {
        let mut answers = self.backend.decide(&[check], Join::Each).await;
        assert_eq!(answers.len(), 1);
        answers.pop().unwrap()
    }

    /// Who answers.
    async fn source(&self, check: Check<'_>) -> Source {
        let decision = self.decide(check).await.unwrap();
        assert_eq!(decision.outcome(), Outcome::Denied);
        decision.source()
    }
}

#[tokio::test]
async fn a_denial_is_given_again_until_its_time_is_over() {
    let scene = Scene::of(Scripted::saying([Ok(denied(SECOND))]));
    let policy = policy();
    let key = check(&policy, b"k");
    assert_eq!(scene.decide(key).await.unwrap(), denied(SECOND));
    for passed in [0, 1, 400, 999] {
        let passed = Duration::from_millis(passed);
        let told = denied(SECOND).later(passed).with_source(Source::Cache);
        scene.clock.set(ManualClock::new().now().plus(passed));
        assert_eq!(scene.decide(key).await.unwrap(), told);
        assert_eq!(scene.backend.decide_now(&key).unwrap().unwrap(), told);
        assert_eq!(told.retry_after(), SECOND.saturating_sub(passed));
        assert_eq!(told.reset_after(), (3 * SECOND).saturating_sub(passed));
        assert_eq!(told.remaining(), 0);
    }
    scene.clock.set(ManualClock::new().now().plus(SECOND));
    assert!(scene.backend.decide_now(&key).is_none());
    assert_eq!(scene.source(key).await, Source::Store);
    assert_eq!(scene.inner.asked(), [[1], [1]]);
    assert_eq!((scene.stats.hits(), scene.stats.misses()), (8, 2));
    assert_eq!((scene.stats.remembered(), scene.stats.entries()), (2, 1));
}

#[tokio::test]
async fn it_is_timed_from_when_it_was_sent_and_never_kept_for_longer_than_allowed() {
    #[derive(Debug)]
    struct Slow(ManualClock);
    impl Clock for Slow {
        fn now(&self) -> ratelimit_core::Timestamp {
            let now = self.0.now();
            self.0.advance(Duration::from_millis(300));
            now
        }
    }
    let policy = policy();
    let key = check(&policy, b"k");
    let scene = Scene::with(
        Scripted::saying([Ok(denied(60 * SECOND))]),
        DenialCache::new(),
    );
    scene.source(key).await;
    scene
        .clock
        .advance(SECOND.saturating_sub(Duration::from_nanos(1)));
    assert_eq!(scene.source(key).await, Source::Cache);
    scene.clock.advance(Duration::from_nanos(1));
    assert_eq!(scene.source(key).await, Source::Store);

    // The answer takes 300 ms.
    let clock = ManualClock::new();
    let inner = Arc::new(Scripted::saying([Ok(denied(SECOND))]));
    let cache = DenialCache::new().clock(Slow(clock.clone()));
    let backend = cache.layer(inner).unwrap();
    backend.decide(&[key], Join::Each).await;
    let sent = ManualClock::new().now();
    clock.set(sent.plus(SECOND.saturating_sub(Duration::from_nanos(1))));
    let told = backend.decide_now(&key).unwrap().unwrap();
    assert_eq!(told.retry_after(), Duration::from_nanos(1));
    clock.set(sent.plus(SECOND));
    assert!(backend.decide_now(&key).is_none());
}

#[tokio::test]
async fn what_is_no_denial_of_the_store_is_not_remembered() {
    let policy = policy();
    let key = check(&policy, b"k");
    let others = [
        Ok(allowed()),
        Ok(allowed().with_outcome(Outcome::AllowedAfter(SECOND))),
        Err(error()),
        Ok(denied(Duration::ZERO)),
        Ok(denied(SECOND).with_source(Source::Cache)),
        Ok(denied(SECOND).with_source(Source::Lease)),
        Ok(denied(SECOND).with_source(Source::Local)),
        Ok(denied(SECOND).with_source(Source::Open)),
    ];
    for answer in others {
        let scene = Scene::of(Scripted::saying([answer.clone()]));
        for _ in 0..2 {
            let told = scene.decide(key).await;
            assert_eq!(told.ok(), answer.clone().ok());
            assert!(scene.backend.decide_now(&key).is_none(), "{answer:?}");
        }
        assert_eq!(scene.stats.remembered(), 0);
    }
    let scene = Scene::of(Scripted::saying([Ok(denied(SECOND))]));
    scene.source(key.with_cost(0)).await;
    assert_eq!(scene.source(key.with_cost(0)).await, Source::Store);
    scene.backend.decide(&[key, key], Join::All).await;
    scene.backend.peek(&[key]).await;
    assert!(scene.backend.decide_now(&key).is_none());
    assert_eq!((scene.stats.entries(), scene.stats.misses()), (0, 0));
}

#[tokio::test]
async fn another_question_is_asked() {
    let scene = Scene::of(Scripted::saying([Ok(denied(SECOND))]));
    let policy = policy();
    let key = check(&policy, b"k");
    scene.source(key).await;
    let other_algorithm = Policy::new("p", Algorithm::Gcra, "5/s".parse().unwrap());
    let other_name = Policy::new("q", Algorithm::TokenBucket, "5/s".parse().unwrap());
    for other in [
        key.with_cost(2),
        key.with_max_delay(SECOND),
        check(&policy, b"K"),
        check(&policy, &[b'k'; 500]),
        check(&other_algorithm, b"k"),
        check(&other_name, b"k"),
    ] {
        assert_eq!(scene.source(other).await, Source::Store);
        assert_eq!(scene.source(other).await, Source::Cache);
        assert_eq!(scene.source(key).await, Source::Cache);
    }
    // Other limits change what holds under the first ones, even if they are the old ones again.
    for text in ["6/s", "5/m", "5/s, 9/m", "5/s"] {
        let mut limits: ratelimit_core::Limits = text.parse().unwrap();
        if text == "5/s" {
            limits = limits.with_bursts(&[5]).unwrap();
        }
        let mut other = key;
        other.limits = &limits;
        assert_eq!(scene.source(other).await, Source::Store, "{text}");
        assert_eq!(scene.source(other).await, Source::Cache, "{text}");
        assert_eq!(scene.source(key).await, Source::Store, "{text}");
    }
}

#[tokio::test]
async fn a_batch_asks_only_for_the_rest() {
    let scene = Scene::of(Scripted::saying([
        Ok(denied(SECOND)),
        Ok(allowed()),
        Err(error()),
        Ok(denied(2 * SECOND)),
    ]));
    let policy = policy();
    let key = check(&policy, b"k").with_cost(3);
    let other = |cost| check(&policy, b"other").with_cost(cost);
    scene.source(key).await;
    let batch = [key, other(1), key, other(2), other(0), key];
    let answers = scene.backend.decide(&batch, Join::Each).await;
    assert_eq!(scene.inner.asked(), [vec![3], vec![1, 2, 0]]);
    let told: Vec<_> = answers.iter().map(|answer| answer.as_ref().ok()).collect();
    let cached = denied(SECOND).with_source(Source::Cache);
    let again = denied(2 * SECOND);
    assert_eq!(
        told,
        [
            Some(&cached),
            Some(&allowed()),
            Some(&cached),
            None,
            Some(&again),
            Some(&cached)
        ]
    );
    // Behind one of its key that is asked, a check is asked as well.
    let batch = [key, key.with_cost(1), key, other(1)];
    let answers = scene.backend.decide(&batch, Join::Each).await;
    assert_eq!(scene.inner.asked(), [[1, 3, 1]]);
    assert_eq!(answers[0].as_ref().unwrap().source(), Source::Cache);
    assert_eq!((scene.stats.hits(), scene.stats.misses()), (4, 6));
}

#[tokio::test]
async fn a_charge_makes_it_ask_again() {
    let policy = policy();
    let key = check(&policy, b"k");
    for join in [Join::Each, Join::All] {
        let scene = Scene::of(Scripted::saying([
            Ok(denied(SECOND)),
            Ok(allowed()),
            Ok(denied(2 * SECOND)),
        ]));
        scene.source(key.with_cost(3)).await;
        scene.backend.decide(&[key], join).await;
        let told = scene.decide(key.with_cost(3)).await.unwrap();
        assert_eq!(told.retry_after(), 2 * SECOND);
    }
}

#[tokio::test]
async fn a_miscount_is_an_error_for_whoever_asked() {
    let policy = policy();
    let (key, other) = (check(&policy, b"k"), check(&policy, b"other"));
    for surplus in [-1, 1] {
        let mut inner = Scripted::saying([Ok(denied(SECOND))]);
        inner.surplus = surplus;
        let scene = Scene::of(inner);
        let answers = scene.backend.decide(&[key, other], Join::Each).await;
        assert_eq!(answers.len(), 2);
        for answer in answers {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Protocol);
        }
        assert_eq!(scene.stats.remembered(), 0);
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_keeps_nothing() {
    let scene = Scene::of(Scripted::saying([Ok(denied(SECOND)), Err(error())]));
    let policy = policy();
    let key = check(&policy, b"k");
    scene.source(key).await;
    let sent = scene.clock.now();
    scene.clock.step_back(Duration::from_nanos(1));
    assert!(scene.decide(key).await.is_err());
    // It does not come back with its time.
    scene.clock.set(sent);
    assert!(scene.decide(key).await.is_err());
    assert_eq!((scene.stats.entries(), scene.stats.evicted()), (0, 1));
}

#[tokio::test]
async fn what_makes_a_key_fresh_forgets_all_its_denials() {
    let policy = policy();
    let (key, other) = (check(&policy, b"k"), check(&policy, b"other"));
    let adjust = Adjust::refund(key, allowed().charge().clone());
    for adjusted in [false, true] {
        let scene = Scene::of(Scripted::saying([Ok(denied(SECOND))]));
        for cost in 1..=5 {
            scene.source(key.with_cost(cost)).await;
        }
        scene.source(other).await;
        assert_eq!(scene.stats.entries(), 6);
        if adjusted {
            scene.backend.adjust(core::slice::from_ref(&adjust)).await;
        } else {
            // Also when it fails: it may have been done.
            assert!(scene.backend.reset(&[key.with_cost(9)]).await.is_err());
        }
        assert_eq!((scene.stats.entries(), scene.stats.evicted()), (1, 5));
        assert_eq!(scene.source(other).await, Source::Cache);
        for cost in 1..=5 {
            assert_eq!(scene.source(key.with_cost(cost)).await, Source::Store);
        }
    }
}

#[tokio::test]
async fn the_bridged_backend_shares_what_is_remembered() {
    let scene = Scene::of(Scripted::saying([Ok(denied(SECOND))]));
    let policy = policy();
    let (key, other) = (check(&policy, b"k"), check(&policy, b"other"));
    scene.source(key).await;
    let bridged = scene.backend.bridged().unwrap();
    let told = bridged.decide_now(&key).unwrap().unwrap();
    assert_eq!(told.source(), Source::Cache);
    assert!(bridged.decide(&[other], Join::Each).await[0].is_err());
    assert!(bridged.reset(&[key]).await.is_err());
    assert_eq!(scene.source(key).await, Source::Store);
    bridged.close().await;
    assert_eq!((scene.stats.entries(), scene.stats.evicted()), (0, 2));
    assert!(scene.backend.decide_now(&key).is_none());
}

#[tokio::test]
async fn what_answers_at_once_is_learnt_from_unless_it_always_does() {
    let policy = policy();
    let key = check(&policy, b"k");
    for immediate in [false, true] {
        let mut inner = Scripted::saying([Ok(denied(SECOND))]);
        inner.decides_now = true;
        inner.capabilities = Some(Capabilities::new(AlgorithmSet::ALL).with_immediate(immediate));
        let scene = Scene::of(inner);
        let asked = || scene.backend.decide_now(&key).unwrap().unwrap().source();
        assert_eq!(asked(), Source::Store);
        let again = if immediate {
            Source::Store
        } else {
            Source::Cache
        };
        assert_eq!(asked(), again);
        assert_eq!(scene.stats.hits() + scene.stats.misses(), 2);
    }
}

#[tokio::test]
async fn everything_else_is_handed_on() {
    let scene = Scene::of(Scripted::saying([Ok(denied(SECOND))]));
    let policy = policy();
    let key = check(&policy, b"k");
    assert_eq!(scene.backend.capabilities(), &ALL);
    assert_eq!(scene.backend.ping().await.unwrap(), Pong::new(SECOND));
    let swept = scene.backend.sweep(Sweep::new()).await.unwrap();
    assert_eq!(swept, Swept::new(3, 4));
    scene.source(key).await;
    let peeked = scene.backend.peek(&[key]).await;
    assert_eq!(peeked[0].as_ref().unwrap().source(), Source::Store);
    assert!(scene.backend.decide(&[], Join::Each).await.is_empty());
}

#[tokio::test]
async fn no_flood_of_keys_or_costs_takes_more_room_than_allowed() {
    let policy = policy();
    for most in [1, 2, 31, 33, 100, 1_000] {
        let cache = DenialCache::new().max_entries(most);
        let scene = Scene::with(Scripted::saying([Ok(denied(SECOND))]), cache);
        for number in 0..3_000_u32 {
            let key = number.to_be_bytes();
            scene.source(check(&policy, &key)).await;
            assert!(scene.stats.entries() <= most as u64, "{most}: {number}");
        }
        let kept = scene.stats.entries();
        assert!(kept + 8 > most as u64, "{most}: {kept}");
        assert_eq!(scene.stats.evicted() + kept, 3_000, "{most}");
    }
    let scene = Scene::of(Scripted::saying([Ok(denied(SECOND))]));
    for cost in 1..=100 {
        let key = check(&policy, b"k").with_cost(cost);
        scene.source(key).await;
        assert_eq!(scene.source(key).await, Source::Cache);
    }
    assert_eq!(scene.stats.entries(), 8);
}

#[test]
fn bounds_of_zero_are_faults() {
    let layered = |cache: DenialCache| {
        let error = cache.layer(Arc::new(Scripted::default())).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.message().to_owned()
    };
    let age = layered(DenialCache::new().max_age(Duration::ZERO));
    assert!(age.contains("`max_age` of 0s"), "{age}");
    let entries = layered(DenialCache::new().max_entries(0));
    assert!(entries.contains("`max_entries` of 0"), "{entries}");
    let largest = DenialCache::new()
        .max_age(Duration::MAX)
        .max_entries(usize::MAX);
    assert!(largest.layer(Arc::new(Scripted::default())).is_ok());
}
