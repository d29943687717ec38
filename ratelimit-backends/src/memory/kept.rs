//! A state that is kept, and until when.

use ratelimit_core::{KeyState, Limits, Timestamp};

/// A state, and from when on it equals a fresh one.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) state: KeyState,
    /// Calls of one key may bring different limits: what one of them remembers longest counts.
    pub(super) fresh_at: Timestamp,
}

impl Kept {
    pub(super) fn new(state: KeyState, limits: &Limits) -> Self {
        let fresh_at = state.fresh_at();
        Self { state, fresh_at }
    }

    /// Lets a decision work on the state.
    pub(super) fn decide<R>(
        &mut self,
        limits: &Limits,
        decide: impl FnOnce(&mut KeyState) -> R,
    ) -> R {
        let answer = decide(&mut self.state);
        self.fresh_at = self.fresh_at.max(self.state.fresh_at());
        answer
    }

    /// Lets a correction work on the state, which may make it fresh earlier.
    pub(super) fn adjust<R>(
        &mut self,
        limits: &Limits,
        adjust: impl FnOnce(&mut KeyState) -> R,
    ) -> R {
        let before = self.state.fresh_at();
        let answer = adjust(&mut self.state);
        let after = self.state.fresh_at();
        // What other limits remember longer stays, unless nothing is left to remember.
        self.fresh_at = if self.fresh_at <= before || after == Timestamp::default() {
            after
        } else {
            self.fresh_at.max(after)
        };
        answer
    }
}
