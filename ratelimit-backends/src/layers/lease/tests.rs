//! One process with a lease, or several, around a store in memory that has to be waited for. How much is
//! admitted at most is in `bounds`, what fails or goes away in `faults`.

mod bounds;
mod faults;

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use ratelimit_core::{
    Adjust, Answers, BoxFuture, Capabilities, Check, Decision, Join, KeyRef, ManualClock, Policy,
    Pong, Source, Sweep, Swept, Timestamp,
};
use tokio::sync::Semaphore;

use super::*;
use crate::memory::MemoryBackend;

const LIFE: Duration = Lease::DEFAULT_LIFE;

/// A store that answers when it is let, or fails, and remembers what it was asked.
struct Store {
    memory: MemoryBackend,
    capabilities: Capabilities,
    gate: Semaphore,
    /// Whoever has passed the gate and was decided has to pass this one to hear so.
    answers: Semaphore,
    fails: AtomicBool,
    /// The costs of each call.
    calls: Mutex<Vec<Vec<u32>>>,
    /// What was given back.
    back: Mutex<Vec<i64>>,
}

impl Store {
    fn new(clock: &ManualClock) -> Arc<Self> {
        let memory = MemoryBackend::builder().clock(clock.clone()).build();
        let capabilities = memory.capabilities().clone().with_immediate(false);
        Arc::new(Self {
            memory,
            capabilities,
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            answers: Semaphore::new(Semaphore::MAX_PERMITS),
            fails: AtomicBool::new(false),
            calls: Mutex::default(),
            back: Mutex::default(),
        })
    }

    fn calls(&self) -> Vec<Vec<u32>> {
        core::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn back(&self) -> Vec<i64> {
        core::mem::take(&mut *self.back.lock().unwrap())
    }

    /// Lets nobody through.
    fn shut(gate: &Semaphore) {
        gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    async fn remaining(&self, check: Check<'_>) -> u32 {
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
            let answers = self.memory.decide(checks, join).await;
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
        self.memory.adjust(adjusts)
    }
    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        self.memory.reset(checks)
    }
    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.memory.ping()
    }
    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        self.memory.sweep(sweep)
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        // Others still ask it.
        Box::pin(async {})
    }
}

/// A store that serves callers that block as well.
struct Bridged(Arc<Store>);

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
struct Scene {
    clock: ManualClock,
    store: Arc<Store>,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = Store::new(&clock);
        Self { clock, store }
    }

    fn process(&self) -> (Arc<dyn Backend>, LeaseStats) {
        self.process_with(Lease::new())
    }

    fn process_with(&self, lease: Lease) -> (Arc<dyn Backend>, LeaseStats) {
        let lease = lease.clock(self.clock.clone());
        let inner = Arc::clone(&self.store) as Arc<dyn Backend>;
        (lease.layer(inner).unwrap(), lease.stats())
    }
}

fn policy(algorithm: Algorithm, rates: &str) -> Policy {
    Policy::named("p".into(), algorithm, rates.parse().unwrap())
}

fn bucket(rates: &str) -> Policy {
    policy(Algorithm::TokenBucket, rates)
}

fn check(policy: &Policy) -> Check<'_> {
    Check::new(policy, policy.limits(), KeyRef::from_bytes(b"k"))
}

async fn ask(backend: &Arc<dyn Backend>, check: Check<'_>) -> Decision {
    if let Some(answer) = backend.decide_now(&check) {
        return answer.unwrap();
    }
    let mut answers = backend.decide(&[check], Join::Each).await;
    assert_eq!(answers.len(), 1);
    answers.remove(0).unwrap()
}

/// Lets what was spawned go on.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Asks so often that several units are held, and says how many calls were admitted.
async fn warm(backend: &Arc<dyn Backend>, check: Check<'_>) -> u32 {
    const CALLS: u32 = 40;
    for _ in 0..CALLS {
        assert!(ask(backend, check).await.is_allowed());
        settle().await;
    }
    let answer = backend.decide_now(&check).expect("something is held");
    assert_eq!(answer.unwrap().source(), Source::Lease);
    CALLS + 1
}

#[tokio::test]
async fn what_is_asked_for_often_is_answered_from_memory() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::Gcra,
        Algorithm::FixedWindow,
    ] {
        let scene = Scene::new();
        let (process, stats) = scene.process();
        let policy = policy(algorithm, "100000/m, 50000/s");
        for call in 1..=10_000 {
            let decision = ask(&process, check(&policy)).await;
            assert!(decision.is_allowed());
            assert_eq!(decision.charge().cost(), 1);
            assert_eq!(decision.remaining(), 50_000 - call, "nobody else asks");
            settle().await;
        }
        assert!(scene.store.calls().len() < 100);
        assert!(stats.hits() > 9_900, "{stats:?}");
        assert_eq!(stats.hits() + stats.misses(), 10_000);
        assert_eq!(stats.keys(), 1);
    }
}

#[tokio::test]
async fn what_is_asked_for_seldom_or_has_a_small_limit_is_asked_by_itself() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let large = bucket("1000000/s");
    for _ in 0..100 {
        ask(&process, check(&large)).await;
        scene.clock.advance(LIFE / 2);
    }
    let small = policy(Algorithm::FixedWindow, "79/m");
    for call in 0..100 {
        assert_eq!(ask(&process, check(&small)).await.is_allowed(), call < 79);
    }
    let calls = scene.store.calls();
    assert_eq!(calls.len(), 200);
    assert!(calls.iter().all(|costs| costs == &[1]));
    assert_eq!((stats.hits(), stats.taken()), (0, 0));
}

#[tokio::test]
async fn what_is_left_is_given_back_when_its_life_is_over() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow] {
        let scene = Scene::new();
        let (process, stats) = scene.process();
        // Nothing is refilled in a slice's life.
        let policy = policy(algorithm, "1000/h");
        let admitted = warm(&process, check(&policy)).await;
        assert!(scene.store.remaining(check(&policy)).await < 1_000 - admitted);
        scene
            .clock
            .advance(LIFE.saturating_sub(Duration::from_nanos(1)));
        settle().await;
        assert_eq!(scene.store.back(), []);
        scene.clock.advance(Duration::from_nanos(1));
        settle().await;
        assert_eq!(
            scene.store.remaining(check(&policy)).await,
            1_000 - admitted
        );
        assert_eq!(scene.clock.sleepers(), 0, "nobody keeps watch any more");
        assert!(stats.returned() > 0);
        assert_eq!(stats.lost(), 0);
        assert!(process.decide_now(&check(&policy)).is_none());
    }
}

#[tokio::test]
async fn what_is_left_is_given_back_at_the_close_and_nothing_is_held_after() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    let admitted = warm(&process, check(&policy)).await;
    Store::shut(&scene.store.gate);
    let waiter = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move { ask(&process, check(&policy).with_cost(50)).await }
    });
    settle().await;
    let closing = tokio::spawn({
        let process = Arc::clone(&process);
        async move { process.close().await }
    });
    settle().await;
    assert!(!closing.is_finished(), "somebody is being answered");
    scene.store.gate.add_permits(1_000);
    assert!(waiter.await.unwrap().is_allowed());
    closing.await.unwrap();
    let back: i64 = scene.store.back().iter().sum();
    let asked: u32 = scene.store.calls().iter().flatten().sum();
    assert_eq!(i64::from(asked) + back, i64::from(admitted) + 50);
}

#[tokio::test]
async fn a_slice_of_a_window_dies_with_it() {
    let scene = Scene::new();
    let (process, stats) = scene.process();
    let policy = policy(Algorithm::FixedWindow, "1000/s");
    scene.clock.advance(Duration::from_millis(950));
    warm(&process, check(&policy)).await;
    // The store's clock is read in ticks of a nanosecond.
    scene
        .clock
        .advance(Duration::from_millis(50).saturating_sub(Duration::from_nanos(2)));
    assert!(process.decide_now(&check(&policy)).is_some());
    scene.clock.advance(Duration::from_nanos(1));
    assert!(process.decide_now(&check(&policy)).is_none());
    settle().await;
    assert!(stats.lost() > 0);
    assert_eq!(
        scene.store.back(),
        [],
        "there is nothing to give it back to"
    );
}

#[tokio::test]
async fn a_reset_makes_void_what_is_held_and_what_is_under_way() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    process.reset(&[check(&policy)]).await.unwrap();
    assert!(process.decide_now(&check(&policy)).is_none());
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000);

    // The store has charged a slice, and is then made fresh before that is heard.
    Store::shut(&scene.store.answers);
    let waiter = tokio::spawn({
        let (process, policy) = (Arc::clone(&process), policy.clone());
        async move { ask(&process, check(&policy)).await }
    });
    settle().await;
    assert!(scene.store.calls().last().unwrap()[0] > 1, "a slice");
    process.reset(&[check(&policy)]).await.unwrap();
    scene.store.answers.add_permits(1_000);
    assert!(waiter.await.unwrap().is_allowed());
    assert!(process.decide_now(&check(&policy)).is_none());
    scene.clock.advance(LIFE);
    settle().await;
    assert_eq!(
        scene.store.back(),
        [],
        "it is not given back to what is fresh"
    );
    assert_eq!(scene.store.remaining(check(&policy)).await, 1_000);
}

#[tokio::test]
async fn what_was_charged_under_other_limits_is_not_spent() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let (one, other) = (bucket("1000/h"), bucket("500/h"));
    warm(&process, check(&one)).await;
    scene.store.calls();
    let under = |limits| Check::new(&one, limits, KeyRef::from_bytes(b"k"));
    assert!(process.decide_now(&under(other.limits())).is_none());
    for _ in 0..20 {
        ask(&process, under(other.limits())).await;
    }
    assert_eq!(scene.store.calls(), vec![vec![1]; 20], "one by one");
    assert!(process.decide_now(&under(one.limits())).is_some());
    // When nothing is held any more, the key's slices are of the other limits.
    settle().await;
    scene.clock.advance(LIFE);
    settle().await;
    warm(&process, under(other.limits())).await;
    assert!(process.decide_now(&under(one.limits())).is_none());
}

#[tokio::test]
async fn a_refund_goes_to_the_slice_while_it_is_held_and_then_to_the_store() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000/h");
    warm(&process, check(&policy)).await;
    let remaining = ask(&process, check(&policy)).await;
    let adjusts = [Adjust::refund(check(&policy), remaining.charge().clone())];
    let told = process.adjust(&adjusts).await.remove(0).unwrap();
    assert_eq!(told.remaining(), remaining.remaining() + 1);
    assert_eq!(told.charge().cost(), 0);
    assert_eq!(scene.store.back(), []);
    // More is not taken back than was charged.
    let more = [Adjust::refund(
        check(&policy),
        remaining.charge().clone().with_cost(500),
    )];
    process.adjust(&more).await.remove(0).unwrap();
    assert_eq!(scene.store.back(), [-500], "no such charge is known here");

    let scene = Scene::new();
    let (process, _) = scene.process();
    warm(&process, check(&policy)).await;
    let spent = ask(&process, check(&policy)).await;
    settle().await;
    scene.clock.advance(LIFE);
    settle().await;
    scene.store.back();
    let before = scene.store.remaining(check(&policy)).await;
    let adjusts = [Adjust::refund(check(&policy), spent.charge().clone())];
    process.adjust(&adjusts).await.remove(0).unwrap();
    assert_eq!(scene.store.back(), [-1]);
    assert_eq!(scene.store.remaining(check(&policy)).await, before + 1);
    // More is charged where the budget is.
    let adjusts = [Adjust::new(check(&policy), spent.charge().clone(), 7)];
    let told = process.adjust(&adjusts).await.remove(0).unwrap();
    assert_eq!(told.remaining(), before + 1 - 7);
    assert_eq!(scene.store.remaining(check(&policy)).await, before + 1 - 7);
}

#[tokio::test]
async fn what_this_process_holds_is_no_reason_to_deny_it() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let admitted = warm(&process, check(&policy)).await;
    // All that there is, with what is held.
    let rest = check(&policy).with_cost(100 - admitted);
    assert!(ask(&process, rest).await.is_allowed());
    let denied = ask(&process, check(&policy)).await;
    assert!(!denied.is_allowed());
    assert_eq!(denied.source(), Source::Store);
    assert_eq!(scene.store.remaining(check(&policy)).await, 0);
}

#[tokio::test]
async fn a_peek_sees_what_is_held() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let admitted = warm(&process, check(&policy)).await;
    let peek = async |cost| {
        let answers = process.peek(&[check(&policy).with_cost(cost)]).await;
        answers[0].clone().unwrap()
    };
    assert_eq!(peek(0).await.remaining(), 100 - admitted);
    // Somebody else takes all that the store has.
    let rest = scene.store.remaining(check(&policy)).await;
    scene
        .store
        .decide(&[check(&policy).with_cost(rest)], Join::Each)
        .await;
    let seen = peek(1).await;
    assert!(seen.is_allowed());
    assert!(seen.remaining() > 0);
    assert!(!peek(50).await.is_allowed());
}

#[tokio::test]
async fn more_is_fetched_ahead_by_one_request_while_nobody_waits() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("1000000/h");
    for _ in 0..2_000 {
        ask(&process, check(&policy)).await;
        settle().await;
    }
    scene.store.calls();
    Store::shut(&scene.store.gate);
    let mut spent = 0;
    while process.decide_now(&check(&policy)).is_some() {
        settle().await;
        spent += 1;
        assert!(
            scene.store.calls.lock().unwrap().len() <= 1,
            "one in flight"
        );
    }
    assert!(spent > 100, "{spent}");
    assert_eq!(scene.store.calls.lock().unwrap().len(), 1);
    scene.store.gate.add_permits(1_000);
    settle().await;
    assert!(
        process.decide_now(&check(&policy)).is_some(),
        "nobody has asked for it"
    );
}

#[tokio::test]
async fn those_who_block_spend_from_the_same_slices() {
    let scene = Scene::new();
    let lease = Lease::new().clock(scene.clock.clone());
    let main = lease
        .layer(Arc::new(Bridged(Arc::clone(&scene.store))))
        .unwrap();
    let blocking = main.bridged().unwrap();
    let policy = bucket("1000000/h");
    warm(&blocking, check(&policy)).await;
    assert_eq!(
        main.decide_now(&check(&policy)).unwrap().unwrap().source(),
        Source::Lease
    );
    // A thread outside of any runtime has more fetched where threads that block are served.
    scene.store.calls();
    let spending = Arc::clone(&main);
    let spent = tokio::task::spawn_blocking(move || {
        let policy = bucket("1000000/h");
        std::thread::spawn(move || {
            let mut spent = 0;
            while spent < 20_000 {
                spent += u32::from(spending.decide_now(&check(&policy)).is_some());
                std::thread::yield_now();
            }
            spent
        })
        .join()
    });
    assert_eq!(spent.await.unwrap().unwrap(), 20_000);
    assert!(!scene.store.calls().is_empty());
}

#[tokio::test]
async fn other_questions_are_passed_on() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let policy = bucket("100/h");
    let checks = [check(&policy), check(&policy)];
    let answers = process.decide(&checks, Join::All).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().is_allowed())
    );
    let free = ask(&process, check(&policy).with_cost(0)).await;
    assert_eq!(free.remaining(), 98);
    let never = process
        .decide(&[check(&policy).with_cost(101)], Join::Each)
        .await;
    assert_eq!(
        never[0].as_ref().unwrap_err().kind(),
        ErrorKind::Unsatisfiable
    );
    assert_eq!(process.ping().await.unwrap().keys, Some(1));
    assert_eq!(process.sweep(Sweep::new()).await.unwrap(), Swept::new(0, 1));
    assert!(process.decide(&[], Join::Each).await.is_empty());
    assert!(process.bridged().is_none());
}

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    let (hot, cold) = (bucket("1000/h"), policy(Algorithm::FixedWindow, "5/h"));
    warm(&process, check(&hot)).await;
    for _ in 0..30 {
        let mut checks = vec![check(&hot); 20];
        checks.insert(10, check(&cold));
        checks.push(check(&hot).with_cost(1_001));
        let answers = process.decide(&checks, Join::Each).await;
        assert_eq!(answers.len(), 22);
        for (place, answer) in answers.into_iter().enumerate() {
            match place {
                21 => assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsatisfiable),
                10 => assert_eq!(answer.unwrap().limit(), 5),
                _ => assert_eq!(answer.unwrap().limit(), 1_000),
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let scene = Scene::new();
    let layer = |lease: Lease| {
        let inner = Arc::clone(&scene.store) as Arc<dyn Backend>;
        lease.layer(inner).map(drop).unwrap_err().to_string()
    };
    let faults = [
        (Lease::new().life(Duration::ZERO), "a `life` of 0ns"),
        (
            Lease::new().life(Duration::from_secs(11)),
            "a `life` of 11s",
        ),
        (Lease::new().max_share(0.0), "a `max_share` of 0 "),
        (Lease::new().max_share(1.5), "a `max_share` of 1.5"),
        (Lease::new().max_share(f64::NAN), "a `max_share` of NaN"),
        (Lease::new().max_keys(0), "`max_keys` of 0"),
    ];
    for (lease, expected) in faults {
        let found = layer(lease);
        assert!(found.contains(expected), "{found}");
    }
    let mut store = Store::new(&scene.clock);
    let capabilities = &mut Arc::get_mut(&mut store).unwrap().capabilities;
    capabilities.refund = AlgorithmSet::EMPTY.with(Algorithm::LeakyBucket);
    let found = Lease::new().layer(store).map(drop).unwrap_err().to_string();
    assert!(found.contains("takes charges back"), "{found}");
}

#[tokio::test]
async fn algorithms_that_cannot_be_leased_are_refused() {
    let scene = Scene::new();
    let (process, _) = scene.process();
    assert_eq!(process.capabilities().algorithms, LEASED);
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "5/s");
        let answers = process.decide(&[check(&policy)], Join::Each).await;
        assert_eq!(answers[0].is_ok(), LEASED.contains(algorithm));
        assert!(process.decide_now(&check(&policy)).is_none());
    }
}
