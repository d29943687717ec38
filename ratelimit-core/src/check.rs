//! [`Check`]: one question to a backend.

use core::time::Duration;

use crate::decision::Charge;
use crate::key::{KeyBuf, KeyRef};
use crate::limits::Limits;
use crate::policy::Policy;

/// One question to a backend: may this call, of this key, under this policy, at this cost, run?
///
/// The limits stand beside the policy because they may differ from call to call: they are what
/// holds after a plan, an override or an adaptive limit has spoken. They are borrowed, as they are
/// large and seldom made for one call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Check<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The limits that hold for this call.
    pub limits: &'a Limits,
    /// Who is limited.
    pub key: KeyRef<'a>,
    /// How many units the call takes. A cost of zero asks and charges nothing.
    pub cost: u32,
    /// How long the call may be made to wait, by the algorithms that the backend can delay
    /// ([`Capabilities::delay`](crate::Capabilities::delay)); others decide for now.
    pub max_delay: Duration,
}

impl<'a> Check<'a> {
    /// A question for one unit, without waiting.
    pub fn new(policy: &'a Policy, limits: &'a Limits, key: KeyRef<'a>) -> Self {
        Self {
            policy,
            limits,
            key,
            cost: 1,
            max_delay: Duration::ZERO,
        }
    }

    /// The same for so many units.
    pub fn with_cost(self, cost: u32) -> Self {
        Self { cost, ..self }
    }

    /// The same for a call that may be made to wait.
    pub fn with_max_delay(self, max_delay: Duration) -> Self {
        Self { max_delay, ..self }
    }

    /// The largest cost that could ever be admitted.
    pub fn capacity(&self) -> u32 {
        self.limits.capacity(self.policy.algorithm())
    }

    /// The question with everything that it borrows, to be sent to another thread or kept.
    pub fn to_owned(&self) -> OwnedCheck {
        OwnedCheck {
            policy: self.policy.clone(),
            limits: *self.limits,
            key: KeyBuf::from(self.key),
            cost: self.cost,
            max_delay: self.max_delay,
        }
    }
}

/// A [`Check`] that borrows nothing.
#[derive(Clone, Debug)]
pub struct OwnedCheck {
    policy: Policy,
    limits: Limits,
    key: KeyBuf,
    cost: u32,
    max_delay: Duration,
}

impl OwnedCheck {
    /// The question itself.
    pub fn as_check(&self) -> Check<'_> {
        Check {
            policy: &self.policy,
            limits: &self.limits,
            key: self.key.as_ref(),
            cost: self.cost,
            max_delay: self.max_delay,
        }
    }
}

/// A correction of what an earlier decision charged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Adjust<'a> {
    /// The question that was admitted.
    pub check: Check<'a>,
    /// What was charged for it.
    pub charge: Charge,
    /// Units to charge more (above zero; at most to empty) or to give back (below zero; at most
    /// what was charged). Giving back an expired charge does nothing.
    pub by: i64,
}

impl<'a> Adjust<'a> {
    /// A correction by so many units.
    pub fn new(check: Check<'a>, charge: Charge, by: i64) -> Self {
        Self { check, charge, by }
    }

    /// Gives back all that was charged.
    pub fn refund(check: Check<'a>, charge: Charge) -> Self {
        let by = -i64::from(charge.cost());
        Self { check, charge, by }
    }
}
