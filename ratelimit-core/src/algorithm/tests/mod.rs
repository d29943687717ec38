//! What holds for the arithmetic.
//!
//! - `oracle`: each algorithm in its most obvious form, with which it is compared.
//! - `histories`: random histories, answer by answer.
//! - `random`: random limits and calls for the other files.
//! - `exact_times`: what answers promise, tried out; `bounds`: what is admitted over any interval.
//! - `extremes`: the ends of time, of costs and of limits.
//! - `drift`, `queue`: what only buckets have to keep.
//! - `examples`: the algorithms with concrete numbers.
//! - `stored`: states as bytes.
//! - `packings`: states in one word, beside the states themselves.
//! - `clocks`, `changes`, `charges`, `refunds`: clock steps, limits that change, corrections of charges.

mod bounds;
mod changes;
mod charges;
mod clocks;
mod drift;
mod exact_times;
mod examples;
mod extremes;
mod histories;
mod oracle;
mod packings;
mod queue;
mod random;
mod refunds;
mod stored;

use core::time::Duration;

use super::{Algorithm, KeyState};
use crate::check::Check;
use crate::clock::Timestamp;
use crate::decision::Decision;
use crate::key::KeyBuf;
use crate::limits::Limits;
use crate::policy::Policy;

/// A key under test.
#[derive(Clone, Debug)]
struct Subject {
    policy: Policy,
    key: KeyBuf,
    state: KeyState,
}

impl Subject {
    fn new(algorithm: Algorithm, limits: &str) -> Self {
        Self::of(algorithm, &limits.parse().unwrap())
    }

    fn of(algorithm: Algorithm, limits: &Limits) -> Self {
        let policy = Policy::named("subject".into(), algorithm, *limits);
        Self {
            policy,
            key: KeyBuf::new(),
            state: KeyState::fresh(algorithm),
        }
    }

    fn check(&self) -> Check<'_> {
        Check::new(&self.policy, self.policy.limits(), self.key.as_ref())
    }

    /// Decides so many units, so many nanoseconds after the epoch.
    fn at(&mut self, now: u64, cost: u32) -> Decision {
        let mut state = self.state.clone();
        let decision = state.decide(&self.check().with_cost(cost), Timestamp::from_nanos(now));
        self.state = state;
        decision
    }

    /// The same with a delay that is allowed.
    fn within(&mut self, now: u64, max_delay: Duration) -> Decision {
        let mut state = self.state.clone();
        let check = self.check().with_max_delay(max_delay);
        let decision = state.decide(&check, Timestamp::from_nanos(now));
        self.state = state;
        decision
    }

    fn peek(&self, now: u64, cost: u32) -> Decision {
        self.state
            .peek(&self.check().with_cost(cost), Timestamp::from_nanos(now))
    }

    fn remaining(&self, now: u64) -> u32 {
        self.peek(now, 0).remaining()
    }

    fn change(&mut self, limits: &str) {
        self.policy = self.policy.clone().with_limits(limits.parse().unwrap());
    }
}

const SECOND: u64 = 1_000_000_000;

/// A full day, hour and minute.
const NOON: u64 = 1_704_067_200 * SECOND;

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
