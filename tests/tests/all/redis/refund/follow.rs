//! Random histories of decisions and corrections, on a server and on a state here: what is answered and what is stored
//! are the same to the byte.

use core::time::Duration;
use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use ratelimit_core::{Adjust, Charge, Clock, Error, KeyState, Limits, ManualClock, Timestamp};
use tokio::runtime::Runtime;

use super::super::*;
use super::calls;

/// Rates of different periods, some of which are no whole number of nanoseconds for a unit.
const RATES: [&str; 12] = [
    "3/7ms",
    "977/ms",
    "20/50ms",
    "5/s",
    "7/3s",
    "9_999/10s",
    "10/m",
    "7/4w",
    "100/h",
    "1000/d",
    "3/w",
    "1/366d",
];

/// The same where no log is kept of them.
const LARGE: [&str; 4] = [
    "9_999_991/s",
    "4294967295/5s",
    "4294967295/366d",
    "10_000_019/30d",
];

/// From there on: no log reaches back to before the epoch.
const START: u64 = 1_704_067_200_000_000_000;

/// For how long keys are kept beyond that by an injected clock.
const LONGER_MS: u128 = 3_600_000;

/// What is stored, and for how long.
const LOOK: &str = "EVAL \"local s = redis.call('GET', KEYS[1]) or '' \
    return redis.call('PTTL', KEYS[1]) .. ' ' .. \
    (s:gsub('.', function(c) return string.format('%02x', c:byte()) end))\" 1 ";

#[derive(Clone, Debug)]
enum Action {
    /// A part of a rate's period, in 64ths, and nanoseconds.
    Pass(u8, u8, i8),
    Back(u8, u8),
    /// Owner, plan, cost and delay in 256ths.
    Decide(u8, u8, u8, u8),
    /// Charges counted from the latest, under the same plan or another.
    Adjust(Vec<(u8, Option<u8>, By)>),
}

#[derive(Clone, Copy, Debug)]
enum By {
    Nothing,
    All,
    /// In 256ths.
    Less(u8),
    One(bool),
    More(u8),
    Most(bool),
}

#[derive(Clone, Debug)]
struct History {
    plans: Vec<Limits>,
    actions: Vec<Action>,
}

fn plan(algorithm: Algorithm) -> impl Strategy<Value = Limits> {
    let mut rates: Vec<&str> = RATES.to_vec();
    if algorithm != Algorithm::SlidingWindow {
        rates.extend(LARGE);
    }
    let rates = subsequence(rates, 1..=4);
    let burst = prop_oneof![3 => Just(None), 1 => (1..50_u32).prop_map(Some)];
    (rates, burst).prop_map(|(rates, burst)| {
        let limits: Limits = rates.join(", ").parse().expect("rates");
        match burst.map(|burst| limits.with_bursts(&[burst])) {
            Some(Ok(limits)) => limits,
            _ => limits,
        }
    })
}

/// `usual`: the limits stay, and the clock does not step back.
fn history(algorithm: Algorithm, usual: bool) -> impl Strategy<Value = History> {
    let by = prop_oneof![
        1 => Just(By::Nothing),
        3 => Just(By::All),
        3 => any::<u8>().prop_map(By::Less),
        2 => any::<bool>().prop_map(By::One),
        3 => any::<u8>().prop_map(By::More),
        2 => any::<bool>().prop_map(By::Most),
    ];
    let other = prop_oneof![5 => Just(None), 1 => any::<u8>().prop_map(Some)];
    let adjust = (prop_oneof![3 => 0..3_u8, 1 => 0..12_u8], other, by);
    let small = prop_oneof![2 => Just(0_u8), 2 => 0..20_u8, 1 => any::<u8>()];
    let back = u32::from(!usual);
    let action = prop_oneof![
        3 => (any::<u8>(), small, any::<i8>()).prop_map(|(rate, parts, by)| Action::Pass(rate, parts, by)),
        back => (any::<u8>(), 0..70_u8).prop_map(|(rate, parts)| Action::Back(rate, parts)),
        4 => (0..2_u8, any::<u8>(), any::<u8>(), select(vec![0_u8, 0, 20, 200]))
            .prop_map(|(owner, plan, cost, delay)| Action::Decide(owner, plan, cost, delay)),
        4 => vec(adjust, 1..5).prop_map(Action::Adjust),
    ];
    let plans = vec(plan(algorithm), if usual { 1..=1 } else { 1..=3 });
    (plans, vec(action, 1..40)).prop_map(|(plans, actions)| History { plans, actions })
}

/// A charge, and what was asked.
#[derive(Clone)]
struct Past {
    owner: u8,
    plan: usize,
    delay: Duration,
    charge: Charge,
}

struct Play<'a> {
    server: &'a Redis,
    runtime: &'a Runtime,
    backend: &'a RedisBackend,
    clock: &'a ManualClock,
    policy: Policy,
    plans: &'a [Limits],
    states: HashMap<u8, KeyState>,
    past: Vec<Past>,
    /// How many questions were asked.
    asked: usize,
    /// How often what is stored was looked at.
    looked: usize,
}

impl Play<'_> {
    fn act(&mut self, action: &Action) -> Result<(), String> {
        let period = |rate: u8| {
            let rates = self.plans[0].as_slice();
            rates[usize::from(rate) % rates.len()].rate().period()
        };
        match action {
            Action::Pass(rate, parts, nanos) => {
                let time = period(*rate) * u32::from(*parts) / 64;
                self.clock.advance(time);
                self.clock
                    .advance(Duration::from_nanos(nanos.unsigned_abs().into()));
                Ok(())
            }
            Action::Back(rate, parts) => {
                self.clock
                    .step_back(period(*rate) * u32::from(*parts) / 64 / 8);
                Ok(())
            }
            Action::Decide(owner, plan, cost, delay) => self.decide(*owner, *plan, *cost, *delay),
            Action::Adjust(adjusts) => self.adjust(adjusts),
        }
    }

    fn decide(&mut self, owner: u8, plan: u8, cost: u8, delay: u8) -> Result<(), String> {
        let plan = usize::from(plan) % self.plans.len();
        let limits = &self.plans[plan];
        let capacity = limits.capacity(self.policy.algorithm());
        let cost = match cost {
            0..20 => u64::from(cost).min(capacity.into()),
            _ => u64::from(capacity) * u64::from(cost) / 255,
        };
        let period = limits.as_slice()[0].rate().period();
        let delay = if self.policy.algorithm() == Algorithm::LeakyBucket {
            period * u32::from(delay) / 256
        } else {
            Duration::ZERO
        };
        let key = owner_key(owner);
        let check = Check::new(&self.policy, limits, key.as_ref())
            .with_cost(u32::try_from(cost).expect("a capacity"))
            .with_max_delay(delay);
        let answer = self
            .runtime
            .block_on(self.backend.decide(&[check], Join::Each));
        self.asked += 1;
        let state = fresh(&mut self.states, owner, &self.policy);
        let expected = state.decide(&check, self.clock.now());
        self.past.push(Past {
            owner,
            plan,
            delay,
            charge: expected.charge().clone(),
        });
        same(&answer, &[expected])?;
        self.look(owner, false)
    }

    fn adjust(&mut self, adjusts: &[(u8, Option<u8>, By)]) -> Result<(), String> {
        let past: Vec<(Past, By)> = adjusts
            .iter()
            .filter_map(|(from_latest, plan, by)| {
                let place = self.past.len().checked_sub(1 + usize::from(*from_latest))?;
                let mut past = self.past[place].clone();
                if let Some(plan) = plan {
                    past.plan = usize::from(*plan) % self.plans.len();
                }
                Some((past, *by))
            })
            .collect();
        let keys: Vec<_> = past.iter().map(|(past, _)| owner_key(past.owner)).collect();
        let adjusts: Vec<_> = past
            .iter()
            .zip(&keys)
            .map(|((past, by), key)| {
                let check = Check::new(&self.policy, &self.plans[past.plan], key.as_ref())
                    .with_max_delay(past.delay);
                let by = by.units(past.charge.cost());
                Adjust::new(check, past.charge.clone(), by)
            })
            .collect();
        if adjusts.is_empty() {
            return Ok(());
        }
        let before = [0, 1].map(|owner| stored(self.states.get(&owner)));
        let answers = self.runtime.block_on(self.backend.adjust(&adjusts));
        self.asked += 1;
        let now = self.clock.now();
        let mut expected = Vec::new();
        // Between two corrections of one call the script forgets a state that is a fresh one's, an exchange does not:
        // that tells in what is kept of other limits, of which nothing counts.
        let mut forgetting = self.states.clone();
        for (adjust, (past, _)) in adjusts.iter().zip(&past) {
            let state = fresh(&mut self.states, past.owner, &self.policy);
            let decision = state.adjust(adjust, now);
            let state = fresh(&mut forgetting, past.owner, &self.policy);
            assert_eq!(state.adjust(adjust, now), decision);
            if stored(Some(state)).is_empty() {
                forgetting.remove(&past.owner);
            }
            self.past.push(Past {
                charge: decision.charge().clone(),
                ..past.clone()
            });
            expected.push(decision);
        }
        same(&answers, &expected)
            .map_err(|wrong| format!("{wrong}\nfor {:?}", self.states.get(&0)))?;
        for owner in [0, 1] {
            let changed = stored(self.states.get(&owner)) != before[usize::from(owner)];
            if self.look(owner, changed).is_err() {
                self.states.remove(&owner);
                if let Some(state) = forgetting.remove(&owner) {
                    self.states.insert(owner, state);
                }
                self.look(owner, changed)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, owner: u8, written: bool) -> Result<(), String> {
        let key = format!(
            "ratelimit:{{t%04key{owner}}}:{}:{}",
            self.policy.name(),
            self.policy.algorithm()
        );
        self.looked += 1;
        let says = self.server.ask(&format!("{LOOK}{key}"));
        let says = says.lines().nth(1).unwrap_or(&says);
        let (left, bytes) = says.split_once(' ').ok_or(says)?;
        let expected = stored(self.states.get(&owner));
        if bytes != expected {
            return Err(format!("stored is {bytes}, and not {expected}"));
        }
        if expected.is_empty() {
            self.states.remove(&owner);
            return Ok(());
        }
        let left: u128 = left.parse().map_err(|_| format!("no expiry: {left}"))?;
        let live = self.states[&owner].fresh_at().since(self.clock.now());
        let keep = live.as_nanos().div_ceil(1_000_000) + LONGER_MS;
        if written && !(left <= keep + 1 && left + 60_000 > keep) {
            return Err(format!("kept for {left} ms, and not {keep}"));
        }
        Ok(())
    }
}

/// What should be stored; a state that is a fresh one's is forgotten.
fn stored(state: Option<&KeyState>) -> String {
    let mut bytes = Vec::new();
    if let Some(state) = state
        && state.fresh_at() > Timestamp::default()
    {
        state.encode(&mut bytes);
    }
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.concat()
}

fn owner_key(owner: u8) -> KeyBuf {
    KeyBuf::of(&format!("key{owner}"))
}

fn fresh<'a>(
    states: &'a mut HashMap<u8, KeyState>,
    owner: u8,
    policy: &Policy,
) -> &'a mut KeyState {
    let state = states.entry(owner);
    state.or_insert_with(|| KeyState::fresh(policy.algorithm()))
}

impl By {
    fn units(self, charged: u32) -> i64 {
        let charged = i64::from(charged);
        match self {
            Self::Nothing => 0,
            Self::All => -charged,
            Self::Less(part) => -(charged * i64::from(part) / 256),
            Self::One(more) => [-1, 1][usize::from(more)],
            Self::More(units) => units.into(),
            Self::Most(more) => [i64::MIN, i64::MAX][usize::from(more)],
        }
    }
}

fn same(answers: &[Result<Decision, Error>], expected: &[Decision]) -> Result<(), String> {
    assert_eq!(answers.len(), expected.len(), "one answer for each");
    for (place, (answer, expected)) in answers.iter().zip(expected).enumerate() {
        if answer.as_ref().ok() != Some(expected) {
            let charges = (answer.as_ref().map(Decision::charge), expected.charge());
            return Err(format!(
                "answer {place} is {answer:?}, and not {expected:?}: {charges:?}"
            ));
        }
    }
    Ok(())
}

/// Plays random histories on a server.
fn follow(server: &Redis, algorithm: Algorithm, usual: bool, histories: u32) {
    let runtime = Runtime::new().expect("a runtime");
    let clock = ManualClock::new();
    let backend = RedisBackend::builder(server.url())
        .timeout(PATIENCE)
        .clock(clock.clone());
    let backend = runtime
        .block_on(backend.connect())
        .expect("the server is there");
    let config = Config {
        cases: histories,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..Config::default()
    };
    let play = |history: History| {
        assert_eq!(server.ask("FLUSHALL").trim(), "+OK");
        assert_eq!(server.ask("CONFIG RESETSTAT").trim(), "+OK");
        clock.set(Timestamp::from_nanos(START));
        let mut play = Play {
            server,
            runtime: &runtime,
            backend: &backend,
            clock: &clock,
            policy: Policy::named("p".into(), algorithm, history.plans[0]),
            plans: &history.plans,
            states: HashMap::new(),
            past: Vec::new(),
            asked: 0,
            looked: 0,
        };
        for (index, action) in history.actions.iter().enumerate() {
            play.act(action).map_err(|wrong| {
                TestCaseError::fail(format!("action {index}, {action:?}: {wrong}"))
            })?;
        }
        if usual {
            let calls = calls(server) - play.looked;
            prop_assert_eq!(calls, play.asked, "each question is one call");
        }
        Ok(())
    };
    // The scripts are there from now on.
    let policy = policy(algorithm, "5/s, 7/3s");
    runtime.block_on(async {
        let charge = decide(&backend, &policy, "k", 1).await;
        decide(&backend, &policy, "k", 0).await;
        let key = KeyBuf::of("k");
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        let refund = Adjust::refund(check, charge.charge().clone());
        backend.adjust(&[refund]).await.remove(0).expect("a refund");
        let one = policy_of_one(algorithm);
        decide(&backend, &one, "k", 1).await;
    });
    match TestRunner::new(config).run(&history(algorithm, usual), play) {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => {
            panic!("{algorithm}: {reason}\nin the history {history:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("{algorithm}: {reason}"),
    }
}

fn policy_of_one(algorithm: Algorithm) -> Policy {
    Policy::named("one".into(), algorithm, "5/s".parse().unwrap())
}

#[test]
fn a_usual_history_is_that_of_the_state_itself_and_one_call_a_question() {
    let server = Redis::start();
    for algorithm in Algorithm::ALL {
        follow(&server, algorithm, true, 64);
    }
}

#[test]
fn limits_that_change_and_a_clock_that_steps_back_lose_nothing() {
    let server = Redis::start();
    for algorithm in Algorithm::ALL {
        follow(&server, algorithm, false, 48);
    }
}

#[test]
fn valkey_does_the_same() {
    let server = Valkey::start();
    for algorithm in Algorithm::ALL {
        follow(&server, algorithm, true, 16);
        follow(&server, algorithm, false, 16);
    }
}
