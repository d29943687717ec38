//! In one process, a cached backend answers as the bare one does: histories at random.

use core::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use ratelimit_core::Limits;

use super::*;
use crate::memory::MemoryBackend;

/// A memory backend that has to be waited for.
struct Remote(MemoryBackend, Capabilities);

fn remote(clock: &ManualClock) -> Remote {
    let memory = MemoryBackend::builder().clock(clock.clone()).max_keys(100);
    let memory = memory.build();
    let capabilities = memory.capabilities().clone().with_immediate(false);
    Remote(memory, capabilities)
}

impl Backend for Remote {
    fn capabilities(&self) -> &Capabilities {
        &self.1
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
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    key: usize,
    policy: usize,
    plan: usize,
    cost: u32,
    delay: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Now(Ask),
    /// The last of these again, so many nanoseconds later.
    Again(u64),
    Each(Vec<Ask>),
    All(Vec<Ask>),
    Peek(Ask),
    /// Which of the last charges, and by how much.
    Adjust(usize, i64),
    Reset(Ask),
    Pass(u64),
    Back(u64),
    /// Until so many nanoseconds before or after the last `retry_after`.
    Retry(i64),
}

/// Of so many keys and policies.
fn ask(keys: usize) -> impl Strategy<Value = Ask> {
    let plan = prop_oneof![9 => Just(0_usize), 1 => 1..3_usize];
    let delay = prop_oneof![9 => Just(0), 1 => 0..3_000_u64];
    let cost = prop_oneof![1 => 0..=4_u32, 2 => 3..=4_u32];
    let seldom = move || prop_oneof![4 => Just(0_usize), 1 => Just(keys - 1)];
    (seldom(), seldom(), plan, cost, delay).prop_map(|(key, policy, plan, cost, delay)| Ask {
        key,
        policy,
        plan,
        cost,
        delay,
    })
}

fn step(keys: usize) -> impl Strategy<Value = Step> {
    let ask = move || ask(keys);
    let asks = move || prop::collection::vec(ask(), 1..5);
    // What holds after a step back depends on what the bare backend was asked meanwhile: whether a key
    // that is over was dropped, by the chance of its hash, and where its window was when it was corrected.
    let (back, by) = match keys {
        1 => (900_000_000_u64, 0),
        _ => (1, 3_i64),
    };
    prop_oneof![
        6 => ask().prop_map(Step::Now),
        8 => (0..150_000_000_u64).prop_map(Step::Again),
        4 => asks().prop_map(Step::Each),
        1 => asks().prop_map(Step::All),
        1 => ask().prop_map(Step::Peek),
        2 => (0..4_usize, -by..=by).prop_map(|(which, by)| Step::Adjust(which, by)),
        1 => ask().prop_map(Step::Reset),
        4 => (0..700_000_000_u64).prop_map(Step::Pass),
        1 => (0..20_000_000_000_u64).prop_map(Step::Pass),
        1 => (0..back).prop_map(Step::Back),
        2 => (-1..=1_i64).prop_map(Step::Retry),
    ]
}

/// A backend, and what it charged last, each with its question.
struct Played<'a> {
    backend: &'a dyn Backend,
    charges: Vec<(Ask, Charge)>,
}

/// Plays a history on both; how often the one answered from memory.
fn play(algorithm: Algorithm, plans: &[Limits; 3], steps: &[Step]) -> Result<u64, TestCaseError> {
    let clock = ManualClock::new();
    let cache = DenialCache::new()
        .max_age(Duration::from_hours(1))
        .clock(clock.clone());
    let cached = cache.layer(Arc::new(remote(&clock))).unwrap();
    let bare = remote(&clock);
    let policies = ["one", "other"].map(|name| Policy::named(name.into(), algorithm, plans[0]));
    let keys = [&b"k"[..], &[7; 200]];
    let check = |ask: Ask| {
        let key = KeyRef::from_bytes(keys[ask.key]);
        Check::new(&policies[ask.policy], &plans[ask.plan], key)
            .with_cost(ask.cost)
            .with_max_delay(Duration::from_millis(ask.delay))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let run = |played: &mut Played<'_>, step: &Step| -> Answers {
        let backend = played.backend;
        let asks: &[Ask] = match step {
            Step::Now(ask) | Step::Peek(ask) | Step::Reset(ask) => core::slice::from_ref(ask),
            Step::Each(asks) | Step::All(asks) => asks,
            _ => &[],
        };
        let checks: Vec<_> = asks.iter().map(|ask| check(*ask)).collect();
        let answers = match step {
            Step::Now(_) => match backend.decide_now(&checks[0]) {
                Some(answer) => vec![answer],
                None => runtime.block_on(backend.decide(&checks, Join::Each)),
            },
            Step::Each(_) => runtime.block_on(backend.decide(&checks, Join::Each)),
            Step::All(_) => runtime.block_on(backend.decide(&checks, Join::All)),
            Step::Peek(_) => return runtime.block_on(backend.peek(&checks)),
            Step::Reset(_) => {
                runtime.block_on(backend.reset(&checks)).unwrap();
                return Vec::new();
            }
            Step::Adjust(which, by) => {
                let Some(place) = played.charges.len().checked_sub(which + 1) else {
                    return Vec::new();
                };
                let (ask, charge) = &played.charges[place];
                let adjusts = [Adjust::new(check(*ask), charge.clone(), *by)];
                let answers = runtime.block_on(backend.adjust(&adjusts));
                if let Ok(decision) = &answers[0] {
                    played.charges[place].1 = decision.charge().clone();
                }
                return answers;
            }
            _ => return Vec::new(),
        };
        for (ask, answer) in asks.iter().zip(&answers) {
            if let Ok(decision) = answer {
                played.charges.push((*ask, decision.charge().clone()));
            }
        }
        answers
    };
    let [mut cached, mut bare] = [&*cached, &bare].map(|backend: &dyn Backend| Played {
        backend,
        charges: Vec::new(),
    });
    let mut retry = Duration::ZERO;
    let mut last = None;
    for step in steps {
        let step = match (step, last) {
            (Step::Again(nanos), Some(ask)) => {
                clock.advance(Duration::from_nanos(*nanos));
                &Step::Now(ask)
            }
            _ => step,
        };
        match step {
            Step::Now(ask) => last = Some(*ask),
            Step::Pass(nanos) => clock.advance(Duration::from_nanos(*nanos)),
            Step::Back(nanos) => clock.step_back(Duration::from_nanos(*nanos)),
            Step::Retry(ticks) => {
                let nanos = u64::try_from(retry.as_nanos()).unwrap();
                clock.advance(Duration::from_nanos(nanos.saturating_add_signed(*ticks)));
            }
            _ => {}
        }
        let (found, expected) = (run(&mut cached, step), run(&mut bare, step));
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            same(algorithm, found, expected)?;
            if let Ok(decision) = expected {
                retry = decision.retry_after();
            }
        }
    }
    Ok(cache.stats().hits())
}

/// Whether two answers differ in nothing but who gave them; where it was remembered, there may be more
/// left by now.
fn same(
    algorithm: Algorithm,
    found: &Result<Decision, Error>,
    expected: &Result<Decision, Error>,
) -> Result<(), TestCaseError> {
    let (found, expected) = match (found, expected) {
        (Ok(found), Ok(expected)) => (found, expected),
        (Err(found), Err(expected)) => {
            prop_assert_eq!(found.kind(), expected.kind());
            return Ok(());
        }
        _ => {
            return Err(TestCaseError::fail(format!(
                "found {found:?}, expected {expected:?}"
            )));
        }
    };
    prop_assert_eq!(found.outcome(), expected.outcome());
    prop_assert_eq!(found.charge().cost(), expected.charge().cost());
    if found.charge().cost() > 0 {
        prop_assert_eq!(found.charge(), expected.charge());
    }
    if found.source() == Source::Store {
        prop_assert!(
            found.quotas().eq(expected.quotas()),
            "{found:?}, not {expected:?}"
        );
        return Ok(());
    }
    prop_assert_eq!(found.source(), Source::Cache);
    prop_assert_eq!(found.quotas().len(), expected.quotas().len());
    for (found, expected) in found.quotas().zip(expected.quotas()) {
        let others = |quota: Quota| (quota.limit, quota.retry_after, quota.reset_after);
        prop_assert_eq!(others(found), others(expected));
        prop_assert!(found.remaining <= expected.remaining);
        if algorithm == Algorithm::FixedWindow {
            prop_assert_eq!(found.remaining, expected.remaining);
        }
    }
    Ok(())
}

fn histories(algorithm: Algorithm) {
    const PLANS: [[&str; 3]; 3] = [
        ["4/s", "7/s", "9/s"],
        ["5/3s, 8/10s", "5/3s, 7/10s", "4/3s, 9/10s"],
        ["7/s, 8/m", "4/s, 9/m", "7/s, 12/m"],
    ];
    let hits = AtomicU64::new(0);
    let steps = |keys| prop::collection::vec(step(keys), 1..60);
    let steps = prop_oneof![steps(1), steps(2)];
    let config = ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(plans in 0..PLANS.len(), steps in steps)| {
        let plans = PLANS[plans].map(|text| text.parse().unwrap());
        hits.fetch_add(play(algorithm, &plans, &steps)?, Ordering::Relaxed);
    });
    let hits = hits.into_inner();
    assert!(hits > 500, "it remembers: {hits}");
}

macro_rules! histories {
    ($($case:ident $algorithm:ident)*) => {$(
        #[test]
        fn $case() {
            histories(Algorithm::$algorithm);
        }
    )*};
}

histories! {
    token_bucket TokenBucket
    gcra Gcra
    leaky_bucket LeakyBucket
    fixed_window FixedWindow
    sliding_window SlidingWindow
    sliding_window_counter SlidingWindowCounter
}
