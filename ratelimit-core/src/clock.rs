//! Where `now` comes from.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::timers::Timers;

/// An instant: nanoseconds since the Unix epoch, by some [`Clock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest instant, in the year 2262. Later ones are taken for it.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// So many nanoseconds after the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > Self::MAX.0 {
            Self::MAX
        } else {
            Self(nanos)
        }
    }

    /// So long after the Unix epoch.
    pub const fn from_unix(since_epoch: Duration) -> Self {
        let nanos = since_epoch.as_nanos();
        #[allow(clippy::cast_possible_truncation)] // compared just before
        if nanos > Self::MAX.0 as u128 {
            Self::MAX
        } else {
            Self(nanos as u64)
        }
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant so much later.
    pub const fn plus(self, duration: Duration) -> Self {
        let later = self.0 as u128 + duration.as_nanos();
        #[allow(clippy::cast_possible_truncation)] // compared just before
        if later > Self::MAX.0 as u128 {
            Self::MAX
        } else {
            Self(later as u64)
        }
    }
}

/// Tells the time. What decides takes its clock from outside, so that no test has to sleep.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The instant now.
    fn now(&self) -> Timestamp;

    /// Wakes whoever sleeps until `at`, once, if this clock does so by itself: then the answer is
    /// `true`, also where that instant has come already. `false` says that its time goes on like
    /// the process's, so that a timer of the process is as good; that is what most clocks say.
    fn wake_at(&self, at: Timestamp, sleeper: &Waker) -> bool {
        let _ = (at, sleeper);
        false
    }

    /// Takes back one [`wake_at`](Self::wake_at) of the same instant and sleeper, whom nobody needs
    /// to wake any more.
    fn forget(&self, at: Timestamp, sleeper: &Waker) {
        let _ = (at, sleeper);
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn wake_at(&self, at: Timestamp, sleeper: &Waker) -> bool {
        (**self).wake_at(at, sleeper)
    }

    fn forget(&self, at: Timestamp, sleeper: &Waker) {
        (**self).forget(at, sleeper);
    }
}

/// The process's monotonic clock, put onto the Unix epoch once, when it is made.
///
/// It never steps, whatever is done to the system's time; windows stay aligned to the epoch as it
/// was known at that moment.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: Instant,
    anchor: Timestamp,
}

impl MonotonicClock {
    /// A clock that says the system's time now and goes on by itself.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            anchor: SystemClock.now(),
        }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        self.anchor.plus(self.origin.elapsed())
    }
}

/// The system's time, with its steps in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix(since_epoch)
    }
}

/// A clock that only moves when told to. Clones show the same time.
///
/// What sleeps until an instant of it is woken by the move that reaches this instant.
///
/// ```
/// use core::time::Duration;
/// use ratelimit_core::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().since(before), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

#[derive(Debug)]
struct Manual {
    now: AtomicU64,
    timers: Timers,
}

impl ManualClock {
    /// A clock at the start of 2024, a minute, hour and day at once, so that windows of those
    /// lengths start there.
    pub fn new() -> Self {
        // 19,723 days after the epoch.
        Self::at(Timestamp::from_unix(Duration::from_hours(19_723 * 24)))
    }

    /// A clock that shows the given instant.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Manual {
            now: AtomicU64::new(now.as_nanos()),
            timers: Timers::default(),
        }))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        self.update(|now| now.plus(by));
    }

    /// Moves backward, as a system's clock does when it is corrected; at most to the epoch.
    pub fn step_back(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.update(|now| Timestamp::from_nanos(now.as_nanos().saturating_sub(by)));
    }

    /// Shows the given instant from now on.
    pub fn set(&self, now: Timestamp) {
        self.0.now.store(now.as_nanos(), Ordering::SeqCst);
        self.0.timers.wake(|| self.now());
    }

    /// How many sleep until an instant of this clock that has not come. A test that starts threads
    /// or tasks waits for this number before it moves the clock.
    pub fn sleepers(&self) -> usize {
        self.0.timers.len()
    }

    fn update(&self, change: impl Fn(Timestamp) -> Timestamp) {
        let change = |now| Some(change(Timestamp::from_nanos(now)).as_nanos());
        let _ = self
            .0
            .now
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
        self.0.timers.wake(|| self.now());
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.now.load(Ordering::SeqCst))
    }

    fn wake_at(&self, at: Timestamp, sleeper: &Waker) -> bool {
        self.0.timers.add(at, sleeper, || self.now());
        true
    }

    fn forget(&self, at: Timestamp, sleeper: &Waker) {
        self.0.timers.forget(at, sleeper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_starts_at_the_system_time_and_never_goes_back() {
        let system = SystemClock.now();
        let clock = MonotonicClock::new();
        let first = clock.now();
        assert!(first.since(system) < Duration::from_mins(1));
        assert!(clock.now() >= first);
    }

    #[test]
    fn the_manual_clock_saturates_at_both_ends() {
        let clock = ManualClock::new();
        clock.step_back(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::from_nanos(0));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
        clock.set(Timestamp::from_nanos(7));
        assert_eq!(clock.clone().now().as_nanos(), 7);
    }
}
