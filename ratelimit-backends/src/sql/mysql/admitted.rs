//! What a statement that changes rows has decided, which it does not say.

use super::super::row::Rate;
use crate::shape::{Family, NARROW, Numbers, Shape};

impl Shape {
    /// How many of `count` equal checks, of `delay` nanoseconds each, a statement admits where this is stored; none if others
    /// have to decide.
    pub(super) fn admits(
        self,
        numbers: &[Numbers],
        rates: &[Rate],
        now: u64,
        count: u32,
        delay: u64,
    ) -> Option<u32> {
        let fresh = Rate {
            period: 0,
            w: 0,
            r: 0,
            o: 0,
        };
        if !rates.is_empty() && rates.len() < numbers.len() {
            return None;
        }
        let mut room = u128::from(count);
        for (place, it) in numbers.iter().enumerate() {
            let rate = rates.get(place);
            if rate.is_some_and(|rate| u64::try_from(rate.period) != Ok(it.period)) {
                return None;
            }
            let used = self.used(it, rate.unwrap_or(&fresh), now)?;
            room = room.min(it.capacity.saturating_sub(used) / it.takes);
            if self.delayed {
                let later = u128::from(delay) * u128::from(it.q);
                room = room.min(match later.checked_sub(used) {
                    Some(left) => left / it.takes + 1,
                    None => 0,
                });
            }
        }
        u32::try_from(room).ok()
    }

    /// What is used of a rate, if its state fits the time and the rate.
    fn used(self, numbers: &Numbers, rate: &Rate, now: u64) -> Option<u128> {
        let w = u64::try_from(rate.w).ok()?;
        let (r, o) = (u32::try_from(rate.r).ok()?, u32::try_from(rate.o).ok()?);
        let window = now / numbers.period;
        match self.family {
            Family::Bucket => {
                let q = numbers.q;
                if r > 0 && r >= o {
                    return None;
                }
                // Parts of another size are rounded up.
                let part = if r > 0 && o != q { q } else { r };
                let used = match w.checked_sub(now) {
                    Some(left) => u128::from(left) * u128::from(q) + u128::from(part),
                    None => 0,
                };
                (used <= numbers.capacity).then_some(used)
            }
            Family::Counter
                if self.narrow && u64::from(r) + u64::from(o) >= 2 * NARROW / numbers.period =>
            {
                None
            }
            Family::Fixed if w == window => Some(r.into()),
            Family::Counter if w == window => Some(of_two(numbers, r.into(), o.into(), now)),
            Family::Counter if w == window.wrapping_sub(1) => {
                Some(of_two(numbers, o.into(), 0, now))
            }
            Family::Fixed => (w < window || r == 0).then_some(0),
            Family::Counter => (w < window || (r == 0 && o == 0)).then_some(0),
        }
    }
}

/// What is used of two windows.
fn of_two(numbers: &Numbers, previous: u128, current: u128, now: u64) -> u128 {
    let left = numbers.period - now % numbers.period;
    let current = current.saturating_mul(numbers.period.into());
    current.saturating_add(previous.saturating_mul(left.into()))
}
