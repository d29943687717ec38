//! What a statement has decided of a row, worked out again from what it says of it.

use super::row::{Rate, Row};
use super::store::Asked;
use crate::shape::{Family, NARROW, Numbers, Shape};

impl Row {
    /// How many of what is asked a statement admits where this is stored, at `now` in nanoseconds; none if others have to
    /// decide.
    pub(super) fn admits(&self, shape: Shape, asked: &Asked, now: i64) -> Option<u32> {
        let number = shape.algorithm.number().into();
        let is_ours = self.algorithm.is_none_or(|it| it == number);
        if !self.state.is_empty() || !is_ours {
            return None;
        }
        let now = u64::try_from(now).ok()?;
        shape.admits(&asked.numbers, &self.rates, now, asked.count, asked.delay)
    }

    /// What was stored before so many calls were charged at `now`, of which this is what is stored then; none if it cannot be.
    #[cfg(feature = "postgres")]
    pub(super) fn uncharged(
        self,
        shape: Shape,
        asked: &Asked,
        now: i64,
        admitted: u32,
    ) -> Option<Self> {
        if self.rates.len() != asked.numbers.len() {
            return None;
        }
        let units = i64::from(admitted).checked_mul(asked.takes.into())?;
        let rates = self.rates.into_iter().zip(&asked.numbers);
        let rates = rates.map(|(rate, numbers)| match shape.family {
            Family::Bucket => refilled(rate, numbers, now, admitted),
            Family::Fixed => Some(Rate {
                r: rate.r.checked_sub(units)?,
                ..rate
            }),
            Family::Counter => Some(Rate {
                o: rate.o.checked_sub(units)?,
                ..rate
            }),
        });
        let rates = rates.collect::<Option<_>>()?;
        Some(Self { rates, ..self })
    }
}

/// A bucket before it was charged at `now`. One that was full says so by being full at that very time.
#[cfg(feature = "postgres")]
fn refilled(rate: Rate, numbers: &Numbers, now: i64, admitted: u32) -> Option<Rate> {
    let q = u128::from(numbers.q);
    let whole = u128::try_from(rate.w.checked_sub(now)?).ok()?;
    let used = whole * q + u128::try_from(rate.r).ok()?;
    let before = used.checked_sub(u128::from(admitted).checked_mul(numbers.takes)?)?;
    Some(Rate {
        w: now.checked_add(i64::try_from(before / q).ok()?)?,
        r: i64::try_from(before % q).ok()?,
        ..rate
    })
}

impl Shape {
    /// How many of `count` equal checks, of `delay` nanoseconds each, are admitted.
    fn admits(
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
