//! The overflow: one bucket per policy, shared by the keys that find no room.

use core::time::Duration;
use std::collections::HashMap;

use ratelimit_core::{Check, KeyState, Timestamp};

use super::fingerprint::Fingerprint;

/// At most one log line per policy in this time.
const LOG_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Shared {
    state: KeyState,
    fresh_at: Timestamp,
    logged_at: Option<Timestamp>,
}

/// The overflow buckets, by policy.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    policies: HashMap<Fingerprint, Shared>,
}

impl Overflow {
    /// The policy's bucket, while it differs from a fresh one.
    pub(super) fn live(&self, policy: Fingerprint, now: Timestamp) -> Option<&KeyState> {
        self.policies
            .get(&policy)
            .filter(|shared| shared.fresh_at > now)
            .map(|shared| &shared.state)
    }

    /// Whether no bucket is in use any more; forgets those that are not.
    pub(super) fn is_over(&mut self, now: Timestamp) -> bool {
        self.policies.retain(|_, shared| {
            let silent = shared
                .logged_at
                .is_none_or(|logged| now.since(logged) >= LOG_EVERY);
            shared.fresh_at > now || !silent
        });
        self.policies.values().all(|shared| shared.fresh_at <= now)
    }

    /// Lets `change` work on the policy's bucket, and says so in the log.
    pub(super) fn update<R>(
        &mut self,
        policy: Fingerprint,
        check: &Check<'_>,
        now: Timestamp,
        max_keys: usize,
        change: impl FnOnce(&mut KeyState) -> R,
    ) -> R {
        let shared = self.policies.entry(policy).or_insert_with(|| Shared {
            state: KeyState::fresh(check.policy.algorithm()),
            fresh_at: Timestamp::default(),
            logged_at: None,
        });
        // A clock that stepped back says it again rather than never.
        let due = shared
            .logged_at
            .is_none_or(|logged| logged > now || now.since(logged) >= LOG_EVERY);
        if due {
            shared.logged_at = Some(now);
            tracing::warn!(
                policy = check.policy.name(),
                max_keys,
                "the memory backend is full of live keys: new keys of this policy share one bucket"
            );
        }
        let answer = change(&mut shared.state);
        shared.fresh_at = shared.state.fresh_at(check.limits);
        answer
    }

    /// Takes back what an [`update`](Self::update) did.
    pub(super) fn restore(
        &mut self,
        policy: Fingerprint,
        state: Option<KeyState>,
        check: &Check<'_>,
    ) {
        match (state, self.policies.get_mut(&policy)) {
            (Some(state), Some(shared)) => {
                shared.fresh_at = state.fresh_at(check.limits);
                shared.state = state;
            }
            (None, Some(shared)) => {
                shared.state = KeyState::fresh(check.policy.algorithm());
                shared.fresh_at = Timestamp::default();
            }
            (_, None) => {}
        }
    }

    pub(super) fn get(&self, policy: Fingerprint) -> Option<&KeyState> {
        self.policies.get(&policy).map(|shared| &shared.state)
    }
}
