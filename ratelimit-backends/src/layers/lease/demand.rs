//! [`Demand`]: how many units a key is asked for, so that slices are of a fitting size.

use core::time::Duration;

use ratelimit_core::Timestamp;

/// A key that is asked for by fewer calls in a slice's life is not worth a slice.
const LEAST: u32 = 4;

/// A slice is so much of what is asked for in its life: it is spent long before it is over, and more
/// is fetched at half of it.
const PART: u64 = 4;

/// Units asked for in spans of time as long as a slice's life, the last one and the one that is now.
#[derive(Debug, Default)]
pub(super) struct Demand {
    since: Timestamp,
    now: Asked,
    before: Asked,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    calls: u32,
    units: u64,
}

impl Demand {
    /// So many units more.
    pub(super) fn add(&mut self, cost: u32, now: Timestamp, life: Duration) {
        self.advance(now, life);
        self.now.calls = self.now.calls.saturating_add(1);
        self.now.units = self.now.units.saturating_add(cost.into());
    }

    /// Lets time pass. A clock that stepped back starts a span anew.
    pub(super) fn advance(&mut self, now: Timestamp, life: Duration) {
        let passed = now.since(self.since);
        if now >= self.since && passed < life {
            return;
        }
        let just_over = now >= self.since && passed < 2 * life;
        self.before = if just_over {
            self.now
        } else {
            Asked::default()
        };
        self.now = Asked::default();
        self.since = now;
    }

    /// How many units to take ahead of need; none where it is not worth it.
    pub(super) fn ahead(&self) -> u32 {
        if self.now.calls.max(self.before.calls) < LEAST {
            return 0;
        }
        let units = self.now.units.max(self.before.units);
        u32::try_from(units / PART).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_millis(100);

    fn asked(demand: &mut Demand, times: u32, at: u64) -> u32 {
        for _ in 0..times {
            demand.add(1, Timestamp::from_nanos(at * 1_000_000), LIFE);
        }
        demand.ahead()
    }

    #[test]
    fn it_follows_what_is_asked_for_and_forgets_it_in_two_lives() {
        let mut demand = Demand::default();
        assert_eq!(asked(&mut demand, 3, 1_000), 0, "seldom asked for");
        assert_eq!(asked(&mut demand, 1, 1_050), 1);
        assert_eq!(asked(&mut demand, 36, 1_099), 10);
        assert_eq!(asked(&mut demand, 1, 1_100), 10, "the last span counts");
        assert_eq!(
            asked(&mut demand, 1, 1_200),
            0,
            "so does the one before, no longer"
        );
        asked(&mut demand, 40, 1_250);
        assert_eq!(
            asked(&mut demand, 1, 1_450),
            0,
            "a pause of more than a life"
        );
    }

    #[test]
    fn few_large_calls_are_few() {
        let mut demand = Demand::default();
        for call in 0..4 {
            assert_eq!(demand.ahead(), 0, "{call}");
            demand.add(1_000, Timestamp::from_nanos(7), LIFE);
        }
        assert_eq!(demand.ahead(), 1_000);
    }

    #[test]
    fn a_clock_that_steps_back_starts_anew() {
        let mut demand = Demand::default();
        asked(&mut demand, 40, 1_000);
        assert_eq!(asked(&mut demand, 1, 500), 0);
        assert_eq!(asked(&mut demand, 7, 550), 2);
    }
}
