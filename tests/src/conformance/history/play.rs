//! Plays a history on a backend, and follows it with the model.

use core::time::Duration;

use ratelimit_core::{
    Adjust, Algorithm, Charge, Check, Decision, Error, Join, KeyRef, Limits, OwnedCheck, Policy,
    Timestamp,
};

use super::random::{Action, Ask, By, Cost, Delay, History, Pause};
use crate::conformance::bench::Bench;
use crate::conformance::follow::Follower;

/// What is charged must not lead past the end of time.
const LATEST: u64 = 5_000_000_000_000_000_000;

/// One history being played.
struct Play<'a> {
    bench: &'a Bench,
    history: &'a History,
    /// Two, so that one key is used under both.
    policies: [Policy; 2],
    follower: Follower,
    /// How many checks were decided.
    decided: usize,
    charges: Vec<Past>,
    last: Option<Decision>,
}

/// A charge that can be corrected.
struct Past {
    number: usize,
    check: OwnedCheck,
    charge: Charge,
}

/// What is wrong with the backend, if anything is.
pub(super) fn play(bench: &Bench, algorithm: Algorithm, history: &History) -> Result<(), String> {
    let policy = || bench.policy(algorithm, history.plans[0]);
    let mut play = Play {
        bench,
        history,
        policies: [policy(), policy()],
        follower: Follower::new(nanos(bench.tick())),
        decided: 0,
        charges: Vec::new(),
        last: None,
    };
    bench.clock().set(Timestamp::from_nanos(history.start));
    for (index, step) in history.steps.iter().enumerate() {
        play.pause(step.pause);
        play.act(&step.action).map_err(|wrong| {
            let now = bench.now().as_nanos();
            format!("step {index}, {step:?}, at {now}: {wrong}")
        })?;
    }
    Ok(())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn part(of: u64, count: u8, parts: u64) -> u64 {
    let part = u128::from(of) * u128::from(count) / u128::from(parts);
    u64::try_from(part).unwrap_or(u64::MAX)
}

impl Play<'_> {
    fn pause(&self, pause: Pause) {
        let now = self.bench.now().as_nanos();
        let tick = nanos(self.bench.tick());
        let rates = self.history.plans[0].as_slice();
        let rate = |number: u8| rates[usize::from(number) % rates.len()].rate();
        let period = |number| nanos(rate(number).period());
        let last = |time: fn(&Decision) -> Duration| {
            self.last.as_ref().map_or(0, |last| nanos(time(last)))
        };
        let (forward, ticks) = match pause {
            Pause::None => (0, 0),
            Pause::Ticks(ticks) => (u64::from(ticks) * tick, 0),
            Pause::Sixteenths(rate, count, ticks) => (part(period(rate), count, 16), ticks),
            Pause::Interval(number, ticks) => {
                (period(number) / u64::from(rate(number).limit()), ticks)
            }
            Pause::WindowEnd(rate, ticks) => (period(rate) - now % period(rate), ticks),
            Pause::Retry(ticks) => (last(Decision::retry_after), ticks),
            Pause::Reset(ticks) => (last(Decision::reset_after), ticks),
            Pause::BackTicks(ticks) => {
                self.back(u64::from(ticks) * tick);
                return;
            }
            Pause::BackSixteenths(rate, count) => {
                self.back(part(period(rate), count, 16));
                return;
            }
        };
        let forward =
            (forward / tick * tick).saturating_add_signed(i64::from(ticks) * tick.cast_signed());
        if now.saturating_add(forward) < LATEST {
            self.bench.pass(Duration::from_nanos(forward));
        }
    }

    fn back(&self, by: u64) {
        let tick = nanos(self.bench.tick());
        self.bench
            .clock()
            .step_back(Duration::from_nanos(by / tick * tick));
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        let now = self.bench.now();
        self.follower.reached(now);
        match action {
            Action::Now(ask) => {
                let checks = self.checks(core::slice::from_ref(ask));
                let answers = [self.bench.decide_now(&checks[0].as_check())];
                self.decided(&checks, Join::Each, now, &answers)
            }
            Action::Each(asks) => self.decide(asks, Join::Each, now),
            Action::All(asks) => self.decide(asks, Join::All, now),
            Action::Peek(asks) => {
                let checks = self.checks(asks);
                let checks: Vec<_> = checks.iter().map(OwnedCheck::as_check).collect();
                let answers = self.bench.peek_all(&checks);
                self.follower.peeked(&checks, now, &answers)
            }
            Action::Adjust(adjusts) => self.adjust(adjusts, now),
            Action::Reset(asks) => {
                let checks = self.checks(asks);
                let checks: Vec<_> = checks.iter().map(OwnedCheck::as_check).collect();
                self.bench.reset(&checks);
                self.follower.reset(&checks);
                Ok(())
            }
        }
    }

    fn decide(&mut self, asks: &[Ask], join: Join, now: Timestamp) -> Result<(), String> {
        let checks = self.checks(asks);
        let asked: Vec<_> = checks.iter().map(OwnedCheck::as_check).collect();
        let answers = self.bench.decide_all(&asked, join);
        self.decided(&checks, join, now, &answers)
    }

    fn decided(
        &mut self,
        checks: &[OwnedCheck],
        join: Join,
        now: Timestamp,
        answers: &[Result<Decision, Error>],
    ) -> Result<(), String> {
        let asked: Vec<_> = checks.iter().map(OwnedCheck::as_check).collect();
        self.follower.decided(&asked, join, now, answers)?;
        for (check, answer) in checks.iter().zip(answers) {
            if let Ok(decision) = answer {
                self.charges.push(Past {
                    number: self.decided,
                    check: check.clone(),
                    charge: decision.charge().clone(),
                });
                self.last = Some(decision.clone());
            }
            self.decided += 1;
        }
        Ok(())
    }

    fn adjust(&mut self, adjusts: &[(u8, By)], now: Timestamp) -> Result<(), String> {
        let mut chosen: Vec<(usize, i64)> = Vec::new();
        for (from_latest, by) in adjusts {
            let index = self
                .charges
                .len()
                .checked_sub(usize::from(*from_latest) + 1);
            let Some(index) = index else { continue };
            let charged = self.charges[index].charge.cost();
            let by = by.units(charged);
            if chosen.iter().all(|(other, _)| *other != index) {
                chosen.push((index, by));
            }
        }
        let past = |index: usize| &self.charges[index];
        let adjusts: Vec<_> = chosen
            .iter()
            .map(|(index, by)| {
                Adjust::new(
                    past(*index).check.as_check(),
                    past(*index).charge.clone(),
                    *by,
                )
            })
            .collect();
        let answers = self.bench.adjust_all(&adjusts);
        for ((index, by), answer) in chosen.iter().zip(&answers) {
            let Past { number, check, .. } = &self.charges[*index];
            let check = check.as_check();
            self.follower.adjusted(&check, *number, *by, now, answer)?;
        }
        for ((index, _), answer) in chosen.iter().zip(answers) {
            if let Ok(decision) = answer {
                self.charges[*index].charge = decision.charge().clone();
            }
        }
        Ok(())
    }

    fn checks(&self, asks: &[Ask]) -> Vec<OwnedCheck> {
        asks.iter().map(|ask| self.check(*ask)).collect()
    }

    fn check(&self, ask: Ask) -> OwnedCheck {
        let (policy, key) = [(0, &b"key"[..]), (0, b"other"), (1, b"key")][usize::from(ask.owner)];
        let policy = &self.policies[policy];
        let plans = &self.history.plans;
        let limits = &plans[usize::from(ask.plan) % plans.len()];
        let check = Check::new(policy, limits, KeyRef::from_bytes(key));
        check
            .with_cost(ask.cost.units(check.capacity()))
            .with_max_delay(ask.delay.time(limits, self.bench.tick()))
            .to_owned()
    }
}

impl Cost {
    fn units(self, capacity: u32) -> u32 {
        match self {
            Self::Zero => 0,
            Self::Units(units) => u32::from(units).min(capacity),
            Self::Part(count) => {
                u32::try_from(part(capacity.into(), count, 256)).unwrap_or(capacity)
            }
            Self::Capacity => capacity,
            Self::Above => capacity.saturating_add(1),
        }
    }
}

impl Delay {
    fn time(self, limits: &Limits, tick: Duration) -> Duration {
        let period = nanos(limits.as_slice()[0].rate().period());
        match self {
            Self::None => Duration::ZERO,
            Self::Sixteenths(count) => {
                let tick = nanos(tick);
                Duration::from_nanos(part(period, count, 16) / tick * tick)
            }
        }
    }
}

impl By {
    fn units(self, charged: u32) -> i64 {
        let charged = i64::from(charged);
        match self {
            Self::Nothing => 0,
            Self::All => -charged,
            Self::Part(count) => -(charged * i64::from(count) / 256),
            Self::MoreThanAll => -charged - 1,
            Self::More(units) => units.into(),
            Self::MuchMore => i64::MAX,
        }
    }
}
