//! Several checks as one decision: all of them are charged, or none is.

use std::collections::HashMap;

use ratelimit_core::{Answers, Check, Decision, Error, Identity, KeyState, Outcome};

use super::engine::{Engine, Stop, lost};
use super::locked::Place;
use super::session::{Session, Spot};
use crate::hash::Fingerprint;

/// The state that a key has in this batch, and where it goes if all are admitted.
struct Item<'c> {
    key: Fingerprint,
    place: Place,
    /// It is there for the batch alone, as yet.
    new: bool,
    state: KeyState,
    /// What the last check of it asked.
    check: Check<'c>,
}

/// Where a check finds its state: in the item of its key, by its index, or in the bucket of its policy.
enum Holder {
    Key(usize),
    Bucket(Identity),
}

impl Engine {
    /// All or none. The locks of all lines that are touched are taken in order, so that two batches
    /// never wait for each other; the states are worked on aside, and kept if all are admitted.
    pub(super) fn decide_all(&self, checks: &[Check<'_>]) -> Answers {
        let refused: Vec<_> = checks
            .iter()
            .map(|check| self.accepts(check).err())
            .collect();
        let keys: Vec<_> = checks.iter().map(|check| self.key(check)).collect();
        let answers = self.with_room(|may_share| {
            let mut session = Session::open(self, &keys);
            if refused.iter().any(Option::is_some) {
                let none = none_charged(self, &mut session, checks, &keys);
                return Ok(none);
            }
            self.decide_in(&mut session, checks, &keys, may_share)
        });
        match answers {
            Ok(answers) => answers
                .into_iter()
                .zip(refused)
                .map(|(answer, refused)| refused.map_or(answer, Err))
                .collect(),
            Err(error) => checks.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn decide_in<'c>(
        &self,
        session: &mut Session<'_, 'c>,
        checks: &[Check<'c>],
        keys: &[Fingerprint],
        may_share: bool,
    ) -> Result<Answers, Stop> {
        let mut items: Vec<Item<'c>> = Vec::with_capacity(checks.len());
        let mut indices: HashMap<Fingerprint, usize> = HashMap::with_capacity(checks.len());
        let mut buckets: HashMap<Identity, KeyState> = HashMap::new();
        let mut answers: Answers = Vec::with_capacity(checks.len());
        let mut stopped = None;
        for (check, key) in checks.iter().zip(keys) {
            let holder = match indices.get(key) {
                Some(index) => Holder::Key(*index),
                None => match self.item(session, check, *key, &items, may_share) {
                    Ok(Some(item)) => {
                        indices.insert(*key, items.len());
                        items.push(item);
                        Holder::Key(items.len() - 1)
                    }
                    Ok(None) => Holder::Bucket(check.policy.identity()),
                    Err(stop) => {
                        stopped = Some(stop);
                        break;
                    }
                },
            };
            let state = match holder {
                Holder::Key(index) => {
                    items[index].check = *check;
                    &mut items[index].state
                }
                Holder::Bucket(policy) => match buckets.entry(policy) {
                    std::collections::hash_map::Entry::Occupied(bucket) => bucket.into_mut(),
                    std::collections::hash_map::Entry::Vacant(bucket) => {
                        match session.share(check, |state, _| state.clone()) {
                            Ok(state) => bucket.insert(state),
                            Err(error) => {
                                answers.push(Err(error));
                                break;
                            }
                        }
                    }
                },
            };
            let now = session.now(state);
            let decision = state.decide(check, now);
            let allowed = decision.is_allowed();
            answers.push(Ok(decision));
            if !allowed {
                break;
            }
        }

        let all = stopped.is_none()
            && answers.len() == checks.len()
            && answers.iter().flatten().all(Decision::is_allowed)
            && answers.iter().all(Result::is_ok);
        if all {
            for item in items {
                if let Some(kept) = session.find(item.key) {
                    session.keep(&kept.into(), item.key, item.state, &item.check);
                }
            }
            for check in checks {
                if let Some(state) = buckets.remove(&check.policy.identity()) {
                    session.keep_shared(check, state);
                }
            }
            return Ok(answers);
        }
        for item in items.iter().filter(|item| item.new) {
            session.forget(item.key);
        }
        if let Some(stop) = stopped {
            return Err(stop);
        }
        let mut none = none_charged(self, session, checks, keys);
        if let Some(last) = answers.pop() {
            // It may only have been denied because of the checks of the same key before it.
            none[answers.len()] = last;
        }
        Ok(none)
    }

    /// What a key brings to the batch; `None` where its policy's bucket stands for it. A new key is
    /// kept at once, as a fresh one, so that no other of the batch takes its slot.
    fn item<'c>(
        &self,
        session: &mut Session<'_, 'c>,
        check: &Check<'c>,
        key: Fingerprint,
        others: &[Item<'c>],
        may_share: bool,
    ) -> Result<Option<Item<'c>>, Stop> {
        let needed = |place| others.iter().any(|other| other.place == place);
        let spot = match session.spot(key, needed) {
            Err(_) if may_share => return Ok(None),
            spot => spot?,
        };
        let (place, state, new) = match &spot {
            Spot::Kept(place, seen) => (*place, self.states.get(seen), false),
            Spot::Free(place, _) => {
                let state = session.start(check);
                let fresh = KeyState::fresh(check.policy.algorithm());
                session.keep(&spot, key, fresh, check);
                (*place, Some(state), true)
            }
            Spot::Shared => return Ok(None),
        };
        Ok(Some(Item {
            key,
            place,
            new,
            state: state.ok_or_else(|| Stop::Failed(lost()))?,
            check: *check,
        }))
    }
}

/// The answers where nothing was charged.
fn none_charged(
    engine: &Engine,
    session: &mut Session<'_, '_>,
    checks: &[Check<'_>],
    keys: &[Fingerprint],
) -> Vec<Result<Decision, Error>> {
    let checks = checks.iter().zip(keys);
    checks
        .map(|(check, key)| {
            let left = engine.peek_in(session, *key, check);
            Ok(left.with_outcome(Outcome::Denied))
        })
        .collect()
}
