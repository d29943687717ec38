//! What the arguments of the attribute may be.

use ratelimit_core::{Limits, MAX_LIMITS};

/// What can be a cost: any integer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a cost",
    label = "a cost is an integer",
    note = "`cost` takes an expression of any integer type, such as `rows.len()`"
)]
pub trait IntoCost {
    /// The number, as wide as any.
    fn into_cost(self) -> i128;
}

macro_rules! costs {
    ($($type:ty)*) => {$(
        impl IntoCost for $type {
            fn into_cost(self) -> i128 {
                #[allow(clippy::unnecessary_fallible_conversions, clippy::useless_conversion)]
                i128::try_from(self).unwrap_or(i128::MAX)
            }
        }

        impl IntoBurst for $type {
            fn into_bursts(self) -> Bursts {
                Bursts { values: [self.into_cost(); MAX_LIMITS], count: 1 }
            }
        }

        impl<const N: usize> IntoBurst for [$type; N] {
            fn into_bursts(self) -> Bursts {
                let mut values = [1; MAX_LIMITS];
                for (place, value) in values.iter_mut().zip(self) {
                    *place = value.into_cost();
                }
                Bursts { values, count: N }
            }
        }
    )*};
}

costs!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

/// What can be limits: anything that is `Into<Limits>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the rate of a call",
    label = "this is neither a `Rate` nor `Limits`",
    note = "`rate` takes string literals, also in the arms of `match` and `if`, and expressions that are `Into<ratelimit::Limits>`, such as `Rate`",
    note = "a rate that is only known at run time is parsed once: `text.parse::<ratelimit::Limits>()`"
)]
pub trait IntoLimits {
    /// The limits.
    fn into_limits(self) -> Limits;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Limits>> IntoLimits for T {
    fn into_limits(self) -> Limits {
        self.into()
    }
}

/// For paths and fields, which are not moved.
pub fn into_limits_ref<T: Clone + IntoLimits>(limits: &T) -> Limits {
    limits.clone().into_limits()
}

/// What can be bursts: an integer, or an array of them with one for each rate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a burst",
    label = "a burst is an integer, or an array of integers with one for each rate"
)]
pub trait IntoBurst {
    /// The numbers, as wide as any.
    fn into_bursts(self) -> Bursts;
}

/// One burst for all rates, or one for each.
#[derive(Clone, Copy, Debug)]
pub struct Bursts {
    values: [i128; MAX_LIMITS],
    count: usize,
}

impl Bursts {
    /// The limits with these bursts, or what is wrong with them.
    pub(super) fn apply(self, limits: &Limits) -> Result<Limits, String> {
        let mut bursts = [0; MAX_LIMITS];
        for (burst, value) in bursts.iter_mut().zip(self.values) {
            *burst = u32::try_from(value)
                .map_err(|_| format!("a burst of {value} is not within 1 to {}", u32::MAX))?;
        }
        if self.count > MAX_LIMITS {
            return Err(format!("at most {MAX_LIMITS} bursts, found {}", self.count));
        }
        limits
            .with_bursts(&bursts[..self.count])
            .map_err(|fault| fault.to_string())
    }
}
