//! Histories of decisions and corrections, random ones and some that meet corners, on a server and on a state here: what is answered and what is stored
//! are the same to the byte.

use core::time::Duration;
use std::collections::HashMap;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use ratelimit_core::{Adjust, Charge, Clock, Error, KeyState, Limits, ManualClock, Timestamp};
use tokio::runtime::Runtime;

use super::super::*;
use super::calls;
use super::random::{Action, By, History, history};

/// From there on: no log reaches back to before the epoch.
const START: u64 = 1_704_067_200_000_000_000;

/// For how long keys are kept beyond that by an injected clock.
const LONGER_MS: u128 = 3_600_000;

/// What is stored, and for how long.
const LOOK: &str = "EVAL \"local s = redis.call('GET', KEYS[1]) or '' \
    return redis.call('PTTL', KEYS[1]) .. ' ' .. \
    (s:gsub('.', function(c) return string.format('%02x', c:byte()) end))\" 1 ";

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
        let earlier = self.states.get(&owner).cloned();
        let state = fresh(&mut self.states, owner, &self.policy);
        let expected = state.decide(&check, self.clock.now());
        let denied = !expected.is_allowed();
        self.past.push(Past {
            owner,
            plan,
            delay,
            charge: expected.charge().clone(),
        });
        same(&answer, &[expected])?;
        let looked = self.look(owner, false);
        if let (Err(_), true, Some(earlier)) = (&looked, denied, earlier) {
            // A denial does not write that the states have another order now.
            self.states.insert(owner, earlier);
            return self.look(owner, false);
        }
        looked
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

/// A server and a backend that reads a clock of ours.
struct Stage<'a> {
    server: &'a Redis,
    runtime: Runtime,
    backend: RedisBackend,
    clock: ManualClock,
}

impl<'a> Stage<'a> {
    fn on(server: &'a Redis) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let clock = ManualClock::new();
        let backend = RedisBackend::builder(server.url())
            .timeout(PATIENCE)
            .clock(clock.clone());
        let backend = runtime.block_on(backend.connect());
        let stage = Self {
            server,
            backend: backend.expect("the server is there"),
            runtime,
            clock,
        };
        stage.runtime.block_on(stage.know_the_scripts());
        stage
    }

    async fn know_the_scripts(&self) {
        for rates in ["5/s", "5/s, 7/3s"] {
            let policy = policy(Algorithm::Gcra, rates);
            let charged = decide(&self.backend, &policy, "k", 1).await;
            decide(&self.backend, &policy, "k", 0).await;
            let key = KeyBuf::of("k");
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            let refund = Adjust::refund(check, charged.charge().clone());
            let refunded = self.backend.adjust(&[refund]).await;
            assert!(refunded[0].is_ok(), "{refunded:?}");
        }
    }

    fn play(&self, algorithm: Algorithm, history: &History, usual: bool) -> Result<(), String> {
        assert_eq!(self.server.ask("FLUSHALL").trim(), "+OK");
        assert_eq!(self.server.ask("CONFIG RESETSTAT").trim(), "+OK");
        self.clock.set(Timestamp::from_nanos(START));
        let mut play = Play {
            server: self.server,
            runtime: &self.runtime,
            backend: &self.backend,
            clock: &self.clock,
            policy: Policy::named("p".into(), algorithm, history.plans[0]),
            plans: &history.plans,
            states: HashMap::new(),
            past: Vec::new(),
            asked: 0,
            looked: 0,
        };
        for (index, action) in history.actions.iter().enumerate() {
            let done = play.act(action);
            done.map_err(|wrong| format!("action {index}, {action:?}: {wrong}"))?;
        }
        let calls = calls(self.server) - play.looked;
        if usual && calls != play.asked {
            return Err(format!("{calls} calls for {} questions", play.asked));
        }
        Ok(())
    }
}

/// Plays random histories on a server.
fn follow(server: &Redis, usual: bool, histories: u32) {
    let stage = Stage::on(server);
    for algorithm in Algorithm::ALL {
        let config = Config {
            cases: histories,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(0x5eed),
            ..Config::default()
        };
        let play = |history| {
            let played = stage.play(algorithm, &history, usual);
            played.map_err(TestCaseError::fail)
        };
        match TestRunner::new(config).run(&history(algorithm, usual), play) {
            Ok(()) => {}
            Err(TestError::Fail(reason, history)) => {
                panic!("{algorithm}: {reason}\nin the history {history:#?}")
            }
            Err(TestError::Abort(reason)) => panic!("{algorithm}: {reason}"),
        }
    }
}

#[test]
fn a_usual_history_is_that_of_the_state_itself_and_one_call_a_question() {
    follow(&Redis::start(), true, 96);
}

#[test]
fn limits_that_change_and_a_clock_that_steps_back_lose_nothing() {
    follow(&Redis::start(), false, 64);
}

#[test]
fn valkey_does_the_same() {
    let server = Valkey::start();
    follow(&server, true, 16);
    follow(&server, false, 16);
}

#[test]
fn corners_that_random_histories_seldom_meet() {
    use Action::{Adjust, Decide, Pass};
    use Algorithm::{SlidingWindow, SlidingWindowCounter, TokenBucket};
    let all_of = |from_latest, plan| Adjust(vec![(from_latest, plan, By::All)]);
    let corners: [(&str, Algorithm, &[&str], Vec<Action>); 6] = [
        (
            "an expired charge, under other limits of its period",
            TokenBucket,
            &["7/3s", "5/3s"],
            vec![
                Decide(0, 0, 1, 0),
                Decide(0, 0, 4, 0),
                Pass(0, 13, 0),
                all_of(1, Some(1)),
            ],
        ),
        (
            "a fraction that is none of other limits",
            TokenBucket,
            &["7/3s", "3/3s"],
            vec![
                Decide(0, 0, 1, 0),
                Decide(0, 0, 4, 0),
                Pass(0, 2, 1),
                all_of(1, Some(1)),
            ],
        ),
        (
            "the end of a charge",
            TokenBucket,
            &["4/4s"],
            vec![
                Decide(0, 0, 1, 0),
                Decide(0, 0, 2, 0),
                Pass(0, 16, 0),
                all_of(1, None),
            ],
        ),
        (
            "a window before that weighs less with every nanosecond",
            SlidingWindowCounter,
            &["4294967295/5s"],
            vec![
                Decide(0, 0, 200, 0),
                Pass(0, 71, 5),
                Adjust(vec![(0, None, By::Most(true))]),
            ],
        ),
        (
            "an entry that no longer counts, before one that does",
            SlidingWindow,
            &["10/8s"],
            vec![
                Decide(0, 0, 3, 0),
                Pass(0, 40, 0),
                Decide(0, 0, 2, 0),
                Pass(0, 40, 0),
                all_of(1, None),
                Adjust(vec![(0, None, By::More(1)), (1, None, By::More(9))]),
            ],
        ),
        (
            "entries that no longer count",
            SlidingWindow,
            &["10/8s"],
            vec![
                Decide(0, 0, 3, 0),
                Pass(0, 1, 0),
                Decide(0, 0, 2, 0),
                Pass(0, 64, 0),
                all_of(0, None),
                Pass(0, 3, 0),
                Adjust(vec![(2, None, By::One(false)), (1, None, By::More(3))]),
            ],
        ),
    ];
    let server = Redis::start();
    let stage = Stage::on(&server);
    for (corner, algorithm, plans, actions) in corners {
        let plans = plans.iter().map(|plan| plan.parse().expect("limits"));
        let plans = plans.collect();
        let played = stage.play(algorithm, &History { plans, actions }, true);
        assert_eq!(played, Ok(()), "{corner}");
    }
}
