//! [`Place`]: a place of the pool, and its connection.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ratelimit_core::Error;
use redis::aio::MultiplexedConnection;
use tokio::sync::{oneshot, watch};

/// After so many calls in a row without an answer in time, a connection is taken for dead: one that
/// leads nowhere any more says nothing.
const TIMEOUTS: u32 = 2;

/// What comes of an attempt to connect, once it has.
pub(super) type Outcome = Option<Result<Found, Error>>;

#[derive(Default)]
pub(super) struct Place(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    /// Which connection, or attempt at one, this is.
    generation: u64,
    state: State,
}

enum State {
    Down {
        /// Attempts or connections in a row that came to nothing.
        failures: u32,
        /// Until when no attempt is made, and what those who ask until then are told.
        pause: Option<(Instant, Error)>,
    },
    Connecting {
        failures: u32,
        made: watch::Receiver<Outcome>,
    },
    Up {
        failures: u32,
        found: Found,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Down {
            failures: 0,
            pause: None,
        }
    }
}

/// A connection.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) wire: MultiplexedConnection,
    pub(super) generation: u64,
    pub(super) health: Arc<Health>,
}

/// How a connection has done so far. It ends with the last who uses the connection.
pub(super) struct Health {
    /// Never sent: its end is the message.
    _used: oneshot::Sender<()>,
    /// It has answered.
    proven: AtomicBool,
    timeouts: AtomicU32,
}

impl Health {
    pub(super) fn of(used: oneshot::Sender<()>) -> Self {
        Self {
            _used: used,
            proven: AtomicBool::new(false),
            timeouts: AtomicU32::new(0),
        }
    }

    pub(super) fn answered(&self) {
        if !self.proven.load(Ordering::Relaxed) {
            self.proven.store(true, Ordering::Relaxed);
        }
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }
}

/// What a caller that needs a connection has to do.
pub(super) enum Finding {
    Found(Found),
    /// Wait for the one that is being made.
    Wait(watch::Receiver<Outcome>),
    /// Make one.
    Make(Order),
    /// It is too early for another attempt.
    Fail(Error),
}

/// The task to make a connection.
pub(super) struct Order {
    pub(super) generation: u64,
    pub(super) failures: u32,
    pub(super) sender: watch::Sender<Outcome>,
    pub(super) made: watch::Receiver<Outcome>,
}

impl Place {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        // Nothing that runs under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.slot().state, State::Up { .. })
    }

    pub(super) fn find(&self, now: Instant) -> Finding {
        let mut slot = self.slot();
        let failures = match &slot.state {
            State::Up { found, .. } => return Finding::Found(found.clone()),
            State::Connecting { made, .. } => return Finding::Wait(made.clone()),
            State::Down {
                pause: Some((until, error)),
                ..
            } if now < *until => return Finding::Fail(error.clone()),
            State::Down { failures, .. } => *failures,
        };
        let (sender, made) = watch::channel(None);
        slot.generation += 1;
        slot.state = State::Connecting {
            failures,
            made: made.clone(),
        };
        Finding::Make(Order {
            generation: slot.generation,
            failures,
            sender,
            made,
        })
    }

    /// An attempt has come to this. Says whether it is the one that counts.
    pub(super) fn made(
        &self,
        generation: u64,
        outcome: &Result<Found, Error>,
        back_off: (Duration, Duration),
    ) -> bool {
        let mut slot = self.slot();
        let State::Connecting { failures, .. } = slot.state else {
            return false;
        };
        if slot.generation != generation {
            return false;
        }
        slot.state = match outcome {
            Ok(found) => State::Up {
                failures,
                found: found.clone(),
            },
            Err(error) => down(failures + 1, error.clone(), back_off),
        };
        true
    }

    /// The connection is used no more. One that has answered is replaced by the next call, at once, unless
    /// it is of no use; one that never did is as good as an attempt that failed.
    pub(super) fn discard(
        &self,
        generation: u64,
        useless: bool,
        why: impl FnOnce() -> Error,
        back_off: (Duration, Duration),
    ) {
        let mut slot = self.slot();
        let State::Up { failures, found } = &slot.state else {
            return;
        };
        if slot.generation != generation {
            return;
        }
        let proven = found.health.proven.load(Ordering::Relaxed);
        let next = if proven && !useless {
            State::default()
        } else {
            let failures = if proven { 0 } else { *failures };
            down(failures + 1, why(), back_off)
        };
        let last = core::mem::replace(&mut slot.state, next);
        drop(slot);
        // The end of a connection is none of those who wait for the lock.
        drop(last);
    }

    /// Whatever it has, it is let go; an attempt that is under way comes to nothing.
    pub(super) fn abandon(&self) {
        let mut slot = self.slot();
        slot.generation += 1;
        let last = core::mem::take(&mut slot.state);
        drop(slot);
        drop(last);
    }

    pub(super) fn timed_out_often(&self, generation: u64) -> bool {
        let slot = self.slot();
        match &slot.state {
            State::Up { found, .. } if slot.generation == generation => {
                found.health.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS
            }
            _ => false,
        }
    }
}

/// No connection, for a while: twice as long after each failure, and not for all processes the same.
fn down(failures: u32, error: Error, (shortest, longest): (Duration, Duration)) -> State {
    let doubled = shortest.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let pause = doubled.min(longest).mul_f64(0.5 + fastrand::f64() / 2.0);
    let said = format!("{} (tried {failures} times)", error.message());
    let said = match failures {
        1 => error,
        _ => Error::new(error.kind(), said).with_temporary(error.is_temporary()),
    };
    State::Down {
        failures,
        // A pause without an end is one until the next call.
        pause: Instant::now().checked_add(pause).map(|until| (until, said)),
    }
}

#[cfg(test)]
mod tests {
    use ratelimit_core::ErrorKind;

    use super::*;

    const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

    fn refused() -> Error {
        Error::new(ErrorKind::Connection, "refused")
    }

    fn order(place: &Place, now: Instant) -> Order {
        match place.find(now) {
            Finding::Make(order) => order,
            Finding::Found(_) => panic!("there is none"),
            Finding::Wait(_) => panic!("nobody makes one"),
            Finding::Fail(error) => panic!("{error}"),
        }
    }

    #[test]
    fn one_attempt_at_a_time_and_longer_pauses_after_each() {
        let place = Place::default();
        let mut now = Instant::now();
        for failures in 0..12 {
            let order = order(&place, now);
            assert_eq!(order.failures, failures);
            assert!(matches!(place.find(now), Finding::Wait(_)));
            assert!(place.made(order.generation, &Err(refused()), BACK_OFF));
            let Finding::Fail(error) = place.find(Instant::now()) else {
                panic!("it is too early")
            };
            assert_eq!(error.kind(), ErrorKind::Connection);
            assert!(error.message().starts_with("refused"), "{error}");
            let State::Down {
                pause: Some((until, _)),
                ..
            } = place.slot().state
            else {
                panic!("it pauses")
            };
            let pause = until.saturating_duration_since(Instant::now());
            let longest = (BACK_OFF.0 * (1 << failures)).min(BACK_OFF.1);
            assert!(pause <= longest, "{pause:?} {failures}");
            assert!(pause > longest / 4, "{pause:?} {failures}");
            now = until;
        }
    }

    #[test]
    fn an_attempt_that_was_given_up_comes_to_nothing() {
        let place = Place::default();
        let now = Instant::now();
        let first = order(&place, now);
        place.abandon();
        let second = order(&place, now);
        assert!(!place.made(first.generation, &Err(refused()), BACK_OFF));
        assert!(matches!(place.find(now), Finding::Wait(_)));
        assert!(place.made(second.generation, &Err(refused()), BACK_OFF));
    }
}
