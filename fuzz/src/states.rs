//! States that come from a store.
//!
//! - Bytes are one state, which encodes to these very bytes, or none.
//! - Whatever state it is, every question about it is answered, and what it then is can be stored
//!   and comes back.
//! - What is charged was left before.

use ratelimit::core::KeyState;
use ratelimit::{Adjust, Check, KeyBuf, Limits, Policy, Timestamp};

/// Checks all of it for one input.
pub fn check(input: &[u8]) {
    // The first byte says which limits are asked with, the next two when and how much.
    let [limits, later, cost, bytes @ ..] = input else {
        return;
    };
    let Ok(mut state) = KeyState::decode(bytes) else {
        return;
    };
    assert_eq!(encoded(&state), bytes);
    let limits: Limits = LIMITS[usize::from(*limits) % LIMITS.len()]
        .parse()
        .expect("these are limits");
    let policy = Policy::named("fuzz".into(), state.algorithm(), limits);
    let key = KeyBuf::new();
    let check = Check::new(&policy, &limits, key.as_ref()).with_cost((*cost).into());
    let near = state.fresh_at().as_nanos();
    let now = Timestamp::from_nanos(near.saturating_sub(u64::from(*later) * 50_000_000));
    let before = state.peek(&check.with_cost(0), now).remaining();
    let decision = state.decide(&check, now);
    comes_back(&state);
    if decision.is_allowed() {
        assert!(u32::from(*cost) <= before, "{cost} of {before} left");
    }
    let refund = Adjust::refund(check, decision.charge().clone());
    state.adjust(&refund, now);
    comes_back(&state);
}

const LIMITS: [&str; 6] = [
    "1/s",
    "3/s",
    "7/4w",
    "10/s, 100/m",
    "3/s, 5/m, 1000/366d",
    "9999991/s",
];

fn comes_back(state: &KeyState) {
    assert_eq!(KeyState::decode(&encoded(state)).as_ref(), Ok(state));
}

fn encoded(state: &KeyState) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.encode(&mut bytes);
    bytes
}
