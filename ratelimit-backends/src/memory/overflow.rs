//! The overflow: one bucket per policy, shared by the keys that find no room.

use core::time::Duration;
use std::collections::HashMap;

use ratelimit_core::{Check, Error, ErrorKind, Identity, KeyState, Timestamp};

/// At most one log line per policy in this time.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Policies can be made at run time: of any number of them, so many can overflow at once.
pub(super) const MOST_POLICIES: usize = 1_024;

#[derive(Debug)]
struct Shared {
    state: KeyState,
    /// The longest that it was ever to be in use when it was last charged.
    longest: Duration,
    logged_at: Option<Timestamp>,
}

impl Shared {
    /// Whether it differs from a fresh bucket.
    fn is_live(&mut self, now: Timestamp) -> bool {
        // Where the clock stepped back, no longer than it could ever have been.
        let latest = now.plus(self.longest);
        if self.state.fresh_at() > latest {
            self.state.follow_back(now, latest);
        }
        self.state.fresh_at() > now
    }

    fn charged(&mut self, now: Timestamp) {
        self.longest = self.longest.max(self.state.fresh_at().since(now));
    }
}

/// The overflow buckets, by policy.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    policies: HashMap<Identity, Shared>,
}

impl Overflow {
    /// The policy's bucket, while it differs from a fresh one.
    pub(super) fn live(&mut self, policy: Identity, now: Timestamp) -> Option<&KeyState> {
        let shared = self.policies.get_mut(&policy)?;
        shared.is_live(now).then_some(&shared.state)
    }

    /// Whether no bucket is in use any more; forgets those that are not.
    pub(super) fn is_over(&mut self, now: Timestamp) -> bool {
        let mut over = true;
        self.policies.retain(|_, shared| {
            let silent = shared
                .logged_at
                .is_none_or(|logged| now.since(logged) >= LOG_EVERY);
            let live = shared.is_live(now);
            over &= !live;
            live || !silent
        });
        over
    }

    /// The bucket of the check's policy, made if need be, and whether to say so in the log.
    fn shared(&mut self, check: &Check<'_>, now: Timestamp) -> Result<(&mut Shared, bool), Error> {
        let policy = check.policy.identity();
        if self.policies.len() >= MOST_POLICIES && !self.policies.contains_key(&policy) {
            self.policies.retain(|_, shared| shared.is_live(now));
            if self.policies.len() >= MOST_POLICIES {
                return Err(Error::new(
                    ErrorKind::Overloaded,
                    "the memory backend is full of live keys of too many policies",
                ));
            }
        }
        let shared = self.policies.entry(policy).or_insert_with(|| Shared {
            state: KeyState::fresh(check.policy.algorithm()),
            longest: Duration::ZERO,
            logged_at: None,
        });
        // A clock that stepped back says it again rather than never.
        let due = shared
            .logged_at
            .is_none_or(|logged| logged > now || now.since(logged) >= LOG_EVERY);
        if due {
            shared.logged_at = Some(now);
        }
        shared.is_live(now);
        Ok((shared, due))
    }

    /// Lets something work on the policy's bucket; its answer, and whether to log it.
    pub(super) fn with<R>(
        &mut self,
        check: &Check<'_>,
        now: Timestamp,
        work: impl FnOnce(&mut KeyState) -> R,
    ) -> Result<(R, bool), Error> {
        let (shared, due) = self.shared(check, now)?;
        let answer = work(&mut shared.state);
        shared.charged(now);
        Ok((answer, due))
    }

    /// Keeps the state of a policy's bucket, also where there is none any more: what a batch has
    /// decided with it is not to fail half way.
    pub(super) fn keep(&mut self, policy: Identity, state: KeyState, now: Timestamp) {
        let shared = self.policies.entry(policy).or_insert_with(|| Shared {
            state: state.clone(),
            longest: Duration::ZERO,
            logged_at: None,
        });
        shared.state = state;
        shared.charged(now);
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.policies.len()
    }
}
