//! Where the engine's `now` comes from.

use std::sync::Arc;

use ratelimit_core::{Clock, SystemClock, Timestamp};

/// The engine's clock.
#[derive(Debug)]
pub(super) enum Time {
    /// This process's own, which never steps back.
    Process(Counter),
    /// One that was given, which may do as it likes.
    Injected(Arc<dyn Clock>),
}

impl Time {
    #[inline(never)]
    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::Process(counter) => counter.now(),
            Self::Injected(clock) => clock.now(),
        }
    }

    /// This process's own time, where that is the clock.
    #[inline(always)]
    pub(super) fn now_inlined(&self) -> Option<Timestamp> {
        match self {
            Self::Process(counter) => Some(counter.now()),
            Self::Injected(_) => None,
        }
    }

    /// Whether the clock may step back.
    #[inline]
    pub(super) fn is_injected(&self) -> bool {
        matches!(self, Self::Injected(_))
    }
}

/// The processor's time stamp counter, where it counts evenly, else the system's monotonic clock;
/// anchored to the system's time once. Reading it takes a third of what
/// [`MonotonicClock`](ratelimit_core::MonotonicClock) takes.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Counter {
    clock: quanta::Clock,
    origin: u64,
    /// Nanoseconds for each 2³² counts.
    scale: u64,
    anchor: Timestamp,
}

impl Counter {
    pub(super) fn new() -> Self {
        Self::of(quanta::Clock::new())
    }

    pub(super) fn of(clock: quanta::Clock) -> Self {
        let origin = clock.raw();
        let anchor = SystemClock.now();
        let scale = clock.delta_as_nanos(0, 1 << 32);
        Self {
            clock,
            origin,
            scale,
            anchor,
        }
    }

    #[inline(always)]
    fn now(&self) -> Timestamp {
        let counts = self.clock.raw().saturating_sub(self.origin);
        #[allow(clippy::cast_possible_truncation)] // until it has counted for 584 years
        let nanos = ((u128::from(counts) * u128::from(self.scale)) >> 32) as u64;
        // The sum stays below 2^64 until the year 2554.
        Timestamp::from_nanos(self.anchor.as_nanos().wrapping_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_counter_goes_on_as_the_systems_clock_does() {
        let counter = Counter::new();
        let (first, started) = (counter.now(), Instant::now());
        assert!(first.since(SystemClock.now()) < Duration::from_secs(1));
        std::thread::sleep(Duration::from_millis(20));
        let (shown, passed) = (counter.now().since(first), started.elapsed());
        assert!(shown >= Duration::from_millis(20), "{shown:?}");
        assert!(shown <= passed + passed / 100, "{shown:?} in {passed:?}");
    }
}
