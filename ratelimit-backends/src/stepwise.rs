//! The shared step: what a batch of checks makes of the states of its keys, for stores that compare and swap.

use ratelimit_core::{Answers, Check, Decision, Error, Join, KeyState, Outcome, Timestamp};

/// Decides checks on the states of their keys, which change as the checks are charged. `places` says
/// which state each check is about, `refuse` which of them cannot be decided at all.
pub(crate) fn decide(
    checks: &[Check<'_>],
    places: &[usize],
    states: &mut [KeyState],
    join: Join,
    now: Timestamp,
    refuse: impl Fn(usize) -> Option<Error>,
) -> Answers {
    match join {
        Join::Each => {
            let checks = checks.iter().zip(places).enumerate();
            checks
                .map(|(index, (check, place))| match refuse(index) {
                    Some(error) => Err(error),
                    None => Ok(states[*place].decide(check, now)),
                })
                .collect()
        }
        Join::All => decide_all(checks, places, states, now, refuse),
    }
}

fn decide_all(
    checks: &[Check<'_>],
    places: &[usize],
    states: &mut [KeyState],
    now: Timestamp,
    refuse: impl Fn(usize) -> Option<Error>,
) -> Answers {
    let refused: Vec<_> = (0..checks.len()).map(refuse).collect();
    let mut answers = Vec::with_capacity(checks.len());
    if refused.iter().all(Option::is_none) {
        let mut changed = states.to_vec();
        for (check, place) in checks.iter().zip(places) {
            let decision = changed[*place].decide(check, now);
            let allowed = decision.is_allowed();
            answers.push(decision);
            if !allowed {
                break;
            }
        }
        if answers.iter().all(Decision::is_allowed) {
            states.clone_from_slice(&changed);
            return answers.into_iter().map(Ok).collect();
        }
    }
    // Nothing is charged: what is left, and what stood in the way.
    let denied = answers.len();
    let mut none: Answers = checks
        .iter()
        .zip(places)
        .map(|(check, place)| {
            let left = states[*place].peek(check, now);
            Ok(left.with_outcome(Outcome::Denied))
        })
        .collect();
    if let (Some(last), Some(place)) = (answers.pop(), denied.checked_sub(1)) {
        // It may only have been denied because of the checks of the same key before it.
        none[place] = Ok(last);
    }
    none.into_iter()
        .zip(refused)
        .map(|(answer, refused)| refused.map_or(answer, Err))
        .collect()
}
