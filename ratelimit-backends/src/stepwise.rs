//! The shared step: what a caller's questions make of the states of their keys, for stores that compare and swap, or
//! lock what they change.

use core::time::Duration;
use std::collections::HashMap;

use ratelimit_core::{
    Adjust, Algorithm, Answers, Capabilities, Check, Decision, Error, ErrorKind, Join, KeyState,
    Outcome, Timestamp,
};
#[cfg(any(feature = "_sql", feature = "cas"))]
use ratelimit_core::{Charge, OwnedCheck};

/// What a caller asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work<'a> {
    Decide(&'a [Check<'a>], Join),
    Peek(&'a [Check<'a>]),
    Adjust(&'a [Adjust<'a>]),
}

impl<'a> Work<'a> {
    /// What the questions are about.
    pub(crate) fn checks(self) -> impl Iterator<Item = &'a Check<'a>> {
        let (checks, adjusts): (&[Check<'a>], &[Adjust<'a>]) = match self {
            Self::Decide(checks, _) | Self::Peek(checks) => (checks, &[]),
            Self::Adjust(adjusts) => (&[], adjusts),
        };
        checks.iter().chain(adjusts.iter().map(|it| &it.check))
    }
}

/// The same with everything that it borrows, for whoever asks in the caller's place.
#[cfg(any(feature = "_sql", feature = "cas"))]
#[derive(Clone, Debug)]
pub(crate) enum Owned {
    Decide(Vec<OwnedCheck>, Join),
    Adjust(Vec<(OwnedCheck, Charge, i64)>),
}

#[cfg(any(feature = "_sql", feature = "cas"))]
impl Owned {
    pub(crate) fn decide(checks: &[Check<'_>], join: Join) -> Self {
        Self::Decide(checks.iter().map(Check::to_owned).collect(), join)
    }

    pub(crate) fn adjust(adjusts: &[Adjust<'_>]) -> Self {
        let owned = |it: &Adjust<'_>| (it.check.to_owned(), it.charge.clone(), it.by);
        Self::Adjust(adjusts.iter().map(owned).collect())
    }

    /// Does something with it in the borrowed form.
    pub(crate) fn with<T>(&self, work: impl FnOnce(Work<'_>) -> T) -> T {
        match self {
            Self::Decide(checks, join) => {
                let checks: Vec<_> = checks.iter().map(OwnedCheck::as_check).collect();
                work(Work::Decide(&checks, *join))
            }
            Self::Adjust(adjusts) => {
                let adjusts: Vec<_> = adjusts
                    .iter()
                    .map(|(check, charge, by)| Adjust::new(check.as_check(), charge.clone(), *by))
                    .collect();
                work(Work::Adjust(&adjusts))
            }
        }
    }
}

/// The distinct keys of a batch.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) names: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    /// The place of each check's key among them.
    pub(crate) places: Vec<usize>,
}

impl Batch {
    /// Of work that is about one key alone, which nobody asks for the name of.
    #[cfg(feature = "cas")]
    pub(crate) fn of_one_key(work: Work<'_>) -> Self {
        Self {
            names: Vec::new(),
            algorithms: Vec::new(),
            places: work.checks().map(|_| 0).collect(),
        }
    }

    pub(crate) fn of<'c>(
        checks: impl Iterator<Item = &'c Check<'c>>,
        name: impl Fn(&Check<'_>) -> String,
    ) -> Self {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut algorithms = Vec::new();
        let places = checks.map(|check| {
            *known.entry(name(check)).or_insert_with(|| {
                algorithms.push(check.policy.algorithm());
                algorithms.len() - 1
            })
        });
        let places: Vec<_> = places.collect();
        let mut names = vec![String::new(); known.len()];
        for (name, place) in known {
            names[place] = name;
        }
        Self {
            names,
            algorithms,
            places,
        }
    }
}

/// What is in the store of the keys of a batch.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) now: Timestamp,
    /// How far a state may lie ahead of it without a step back of the clock.
    slack: Duration,
    pub(crate) states: Vec<KeyState>,
    /// Why what is there is no state; it is not replaced then.
    faults: Vec<Option<Error>>,
}

impl Found {
    /// One value for each key: none where there is something else than bytes, empty where there is nothing.
    pub(crate) fn of<'v>(
        now: Timestamp,
        values: impl Iterator<Item = Option<&'v [u8]>>,
        algorithms: &[Algorithm],
    ) -> Self {
        let mut found = Self {
            now,
            ..Self::default()
        };
        for (bytes, algorithm) in values.zip(algorithms) {
            let read = match bytes {
                Some(bytes) => state(bytes, *algorithm),
                None => Err(no_state()),
            };
            let (state, fault) = match read {
                Ok(state) => (state, None),
                Err(error) => (KeyState::fresh(*algorithm), Some(error)),
            };
            found.states.push(state);
            found.faults.push(fault);
        }
        found
    }

    /// The same where the time was read by another clock than those of others, or before they changed the states: what lies
    /// ahead by that much at most is what they did since.
    #[cfg(any(feature = "cas", feature = "mongodb"))]
    pub(crate) fn with_slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// Whether a key has a state, which may be replaced.
    pub(crate) fn is_sound(&self, place: usize) -> bool {
        self.faults[place].is_none()
    }

    /// Answers the questions, which changes the states.
    pub(crate) fn answer(
        &mut self,
        work: Work<'_>,
        batch: &Batch,
        capabilities: &Capabilities,
    ) -> Answers {
        let Self {
            now,
            slack,
            states,
            faults,
        } = self;
        let instant = |state: &KeyState, check: &Check<'_>| instant(state, check, *now, *slack);
        let places = &batch.places[..];
        match work {
            Work::Decide(checks, join) => {
                let refuse = |index: usize| {
                    let fault = faults[places[index]].clone();
                    fault.or_else(|| refuse(capabilities, &checks[index]))
                };
                decide(checks, places, states, join, instant, refuse)
            }
            Work::Peek(checks) => {
                let checks = checks.iter().zip(places);
                let peek = |(check, place): (&Check<'_>, &usize)| {
                    let fault = faults[*place].clone();
                    let state = &states[*place];
                    match fault.or_else(|| refuse(capabilities, check)) {
                        Some(error) => Err(error),
                        None => Ok(state.peek(check, instant(state, check))),
                    }
                };
                checks.map(peek).collect()
            }
            Work::Adjust(adjusts) => {
                let adjusts = adjusts.iter().zip(places);
                let adjust = |(adjust, place): (&Adjust<'_>, &usize)| match &faults[*place] {
                    Some(error) => Err(error.clone()),
                    None => {
                        let now = instant(&states[*place], &adjust.check);
                        Ok(states[*place].adjust(adjust, now))
                    }
                };
                adjusts.map(adjust).collect()
            }
        }
    }
}

/// When a check is decided: now, or at the newest instant of the state, if that lies ahead by `slack` at most.
fn instant(state: &KeyState, check: &Check<'_>, now: Timestamp, slack: Duration) -> Timestamp {
    if slack.is_zero() {
        return now;
    }
    let newest = state.newest_under(check.limits);
    if newest.since(now) <= slack {
        now.max(newest)
    } else {
        now
    }
}

/// Why a check cannot be decided at all.
pub(crate) fn refuse(capabilities: &Capabilities, check: &Check<'_>) -> Option<Error> {
    let algorithm = check.policy.algorithm();
    if let Some(incapable) = capabilities.refuse(algorithm, check.limits) {
        return Some(incapable.into());
    }
    let capacity = check.capacity();
    (check.cost > capacity).then(|| Error::unsatisfiable(check.cost, capacity))
}

/// The state that is stored as these bytes; nothing is a fresh one.
pub(crate) fn state(bytes: &[u8], algorithm: Algorithm) -> Result<KeyState, Error> {
    if bytes.is_empty() {
        return Ok(KeyState::fresh(algorithm));
    }
    let state = KeyState::decode(bytes)?;
    if state.algorithm() == algorithm {
        Ok(state)
    } else {
        Err(no_state())
    }
}

/// What is stored of a state, and for how many milliseconds; nothing where it equals a fresh one. A clock that is
/// injected may step back, which can make a state count again that is over: there it is kept for longer.
pub(crate) fn stored(state: &KeyState, now: Timestamp, injected: bool) -> (Vec<u8>, u64) {
    let fresh_at = state.fresh_at();
    let left = fresh_at.since(now).as_nanos();
    if left == 0 && !(injected && fresh_at > Timestamp::default()) {
        return (Vec::new(), 0);
    }
    let mut bytes = Vec::new();
    state.encode(&mut bytes);
    let longer = if injected { LONGER_MS } else { 0 };
    let keep = u64::try_from(left.div_ceil(1_000_000)).unwrap_or(u64::MAX / 2);
    (bytes, keep + longer)
}

/// How much longer keys are kept than they are live where the store's clock is not the one that decides.
pub(crate) const LONGER_MS: u64 = 3_600_000;

pub(crate) fn no_state() -> Error {
    let message = "what is stored under the key is no state of ours";
    Error::new(ErrorKind::Protocol, message)
}

/// Decides checks on the states of their keys, which change as the checks are charged. `places` says
/// which state each check is about, `instant` when it is decided, `refuse` which of them cannot be decided at all.
pub(crate) fn decide(
    checks: &[Check<'_>],
    places: &[usize],
    states: &mut [KeyState],
    join: Join,
    instant: impl Fn(&KeyState, &Check<'_>) -> Timestamp,
    refuse: impl Fn(usize) -> Option<Error>,
) -> Answers {
    match join {
        Join::Each => {
            let checks = checks.iter().zip(places).enumerate();
            checks
                .map(|(index, (check, place))| match refuse(index) {
                    Some(error) => Err(error),
                    None => {
                        let now = instant(&states[*place], check);
                        Ok(states[*place].decide(check, now))
                    }
                })
                .collect()
        }
        Join::All => decide_all(checks, places, states, instant, refuse),
    }
}

fn decide_all(
    checks: &[Check<'_>],
    places: &[usize],
    states: &mut [KeyState],
    instant: impl Fn(&KeyState, &Check<'_>) -> Timestamp,
    refuse: impl Fn(usize) -> Option<Error>,
) -> Answers {
    let refused: Vec<_> = (0..checks.len()).map(refuse).collect();
    let mut answers = Vec::with_capacity(checks.len());
    if refused.iter().all(Option::is_none) {
        let mut changed = states.to_vec();
        for (check, place) in checks.iter().zip(places) {
            let now = instant(&changed[*place], check);
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
            let state = &states[*place];
            let left = state.peek(check, instant(state, check));
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
