//! What generated code uses. Not a public interface: it changes without notice.

pub use inventory;
#[cfg(feature = "macros")]
pub use ratelimit_macros as macros;

pub use crate::guard::{
    Admitted, Call, IntoBurst, IntoCost, IntoLimits, call_once, enter, enter_async,
    into_limits_ref, on_limit, respond,
};
pub use crate::request::{Probe, Source, ViaContext, ViaNothing, request};
pub use crate::response::{FromRejection, IntoFrameworkResponse};
pub use crate::site::{Collected, Site};
pub use crate::{Algorithm, Key, KeyBuf, Limits, Mode, OnError, Rate, Rejection};

use core::time::Duration;

/// A rate that the macro has checked.
///
/// # Panics
///
/// In a constant, when it was not checked.
pub const fn rate(limit: u32, period_millis: u64) -> Rate {
    match Rate::new(limit, Duration::from_millis(period_millis)) {
        Ok(rate) => rate,
        Err(fault) => panic!("{}", fault.expected()),
    }
}

/// A wait that the macro has checked.
pub const fn wait(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Limits that the macro has checked.
///
/// # Panics
///
/// In a constant, when they were not checked.
pub const fn limits(rates: &[(u32, u64)], bursts: &[u32]) -> Limits {
    let mut checked = [rate(1, 1); ratelimit_core::MAX_LIMITS];
    let mut index = 0;
    while index < rates.len() {
        checked[index] = rate(rates[index].0, rates[index].1);
        index += 1;
    }
    match Limits::from_rates(checked.split_at(rates.len()).0, bursts) {
        Ok(limits) => limits,
        Err(fault) => panic!("{}", fault.expected()),
    }
}
