//! [`Latencies`]: the times of single checks.

use quanta::Clock;

/// Shorter times than this are counted by the nanosecond.
const COUNTED: usize = 1 << 14;

/// The times of single checks, by the processor's time stamp counter. Reading it is part of each
/// of them.
pub struct Latencies {
    clock: Clock,
    counted: Vec<u64>,
    longer: Vec<u64>,
}

impl Latencies {
    pub fn new() -> Self {
        Self {
            clock: Clock::new(),
            counted: vec![0; COUNTED],
            longer: Vec::with_capacity(1 << 20),
        }
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// One check, from one reading of the counter to the other.
    #[inline]
    pub fn record(&mut self, start: u64, end: u64) {
        let nanos = self.clock.delta_as_nanos(start, end);
        match usize::try_from(nanos)
            .ok()
            .and_then(|nanos| self.counted.get_mut(nanos))
        {
            Some(count) => *count += 1,
            None => self.longer.push(nanos),
        }
    }

    /// How many checks there were.
    pub fn count(&self) -> u64 {
        self.counted.iter().sum::<u64>() + self.longer.len() as u64
    }

    /// The longest time, in nanoseconds.
    pub fn worst(&self) -> u64 {
        let longest = self.counted.iter().rposition(|count| *count > 0);
        let counted = longest.map_or(0, |nanos| nanos as u64);
        self.longer.iter().copied().fold(counted, u64::max)
    }

    /// The time that all but one in so many checks stay below, in nanoseconds.
    pub fn all_but_one_in(&mut self, many: u64) -> u64 {
        let mut above = self.count() / many;
        self.longer.sort_unstable();
        for nanos in self.longer.iter().rev() {
            if above == 0 {
                return *nanos;
            }
            above -= 1;
        }
        for (nanos, count) in self.counted.iter().enumerate().rev() {
            if above < *count {
                return nanos as u64;
            }
            above -= count;
        }
        0
    }
}
