//! Who sleeps until which instant of a clock that only moves when told to.

use core::task::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// The sleepers, in no order: they are few, as only tests have them.
#[derive(Debug, Default)]
pub(crate) struct Timers(Mutex<Vec<(Timestamp, Waker)>>);

impl Timers {
    /// Wakes the sleeper at that instant. The clock is read while the sleepers are locked: whoever
    /// moved it before has woken none of those that come later.
    pub(crate) fn add(&self, at: Timestamp, sleeper: &Waker, now: impl Fn() -> Timestamp) {
        let mut sleepers = self.lock();
        if now() < at {
            sleepers.push((at, sleeper.clone()));
        } else {
            drop(sleepers);
            sleeper.wake_by_ref();
        }
    }

    /// Takes back one that was [added](Self::add) and has not been woken.
    pub(crate) fn forget(&self, at: Timestamp, sleeper: &Waker) {
        let mut sleepers = self.lock();
        let same =
            |(other_at, other): &(Timestamp, Waker)| *other_at == at && other.will_wake(sleeper);
        let found = sleepers.iter().position(same);
        let forgotten = found.map(|index| sleepers.swap_remove(index));
        drop(sleepers);
        // It may own a task, whose end is not to happen under the lock.
        drop(forgotten);
    }

    /// Wakes those whose instant has come, the earliest first.
    pub(crate) fn wake(&self, now: impl Fn() -> Timestamp) {
        let mut sleepers = self.lock();
        let now = now();
        let mut due: Vec<_> = sleepers.extract_if(.., |(at, _)| *at <= now).collect();
        drop(sleepers);
        due.sort_by_key(|(at, _)| *at);
        for (_, sleeper) in due {
            sleeper.wake();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Timestamp, Waker)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::time::Duration;
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;
    use crate::{Clock, ManualClock, MonotonicClock};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Woken {
        fn times(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sleeper_is_woken_once_and_not_before_its_instant() {
        let clock = ManualClock::new();
        let woken = Arc::new(Woken::default());
        let sleeper = Waker::from(Arc::clone(&woken));
        assert!(clock.wake_at(clock.now().plus(SECOND), &sleeper));
        assert_eq!(clock.sleepers(), 1);
        clock.advance(Duration::from_nanos(999_999_999));
        clock.step_back(SECOND);
        clock.advance(SECOND);
        assert_eq!((woken.times(), clock.sleepers()), (0, 1));
        clock.advance(Duration::from_nanos(1));
        clock.advance(SECOND);
        assert_eq!((woken.times(), clock.sleepers()), (1, 0));
    }

    #[test]
    fn an_instant_that_has_come_wakes_at_once() {
        let clock = Arc::new(ManualClock::new());
        let woken = Arc::new(Woken::default());
        let sleeper = Waker::from(Arc::clone(&woken));
        assert!(clock.wake_at(clock.now(), &sleeper));
        assert_eq!((woken.times(), clock.sleepers()), (1, 0));
        // Setting it wakes as advancing does.
        assert!(clock.wake_at(Timestamp::MAX, &sleeper));
        clock.set(Timestamp::MAX);
        assert_eq!(woken.times(), 2);
    }

    #[test]
    fn one_is_forgotten_where_two_are_alike() {
        let clock = Arc::new(ManualClock::new());
        let woken = Arc::new(Woken::default());
        let sleeper = Waker::from(Arc::clone(&woken));
        let at = clock.now().plus(SECOND);
        clock.wake_at(at, &sleeper);
        clock.wake_at(at, &sleeper);
        clock.forget(at.plus(SECOND), &sleeper);
        clock.forget(at, &sleeper);
        assert_eq!(clock.sleepers(), 1);
        clock.advance(SECOND);
        assert_eq!(woken.times(), 1);
    }

    #[test]
    fn other_clocks_leave_it_to_the_process() {
        let clock = MonotonicClock::new();
        assert!(!clock.wake_at(clock.now(), Waker::noop()));
        clock.forget(clock.now(), Waker::noop());
    }
}
