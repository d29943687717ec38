//! The vocabulary and the arithmetic of the `ratelimit` framework: what its macros, its backends
//! and its users share. It does no I/O and knows no async runtime.
//!
//! - [`Rate`] and [`Limits`]: the one grammar, read while compiling or at run time.
//! - [`Key`]: who is limited, as bytes that differ whenever the values do.
//! - [`algorithm`]: the arithmetic; [`KeyState`] puts several rates of one key together.
//! - [`Check`], [`Decision`], [`Backend`]: the question, the answer, and what answers.
//! - [`Clock`]: where `now` comes from.

pub mod algorithm;
mod backend;
mod capabilities;
#[cfg(test)]
mod cases;
mod check;
mod checked;
mod clock;
mod decision;
mod error;
mod few;
mod key;
mod limits;
mod policy;
mod quota;
pub mod rate;
mod timers;

pub use algorithm::{Algorithm, AlgorithmSet, KeyState, UnknownAlgorithm};
pub use backend::{Answers, Backend, BoxFuture, Join, Layer, Pong, Sweep, Swept};
pub use capabilities::{Capabilities, ClockKind, Incapable, JoinScope};
pub use check::{Adjust, Check, OwnedCheck};
pub use checked::Checked;
pub use clock::{Clock, ManualClock, MonotonicClock, SystemClock, Timestamp};
pub use decision::{Charge, Decision, Outcome, Source};
pub use error::{Error, ErrorKind};
pub use key::{Key, KeyBuf, KeyRef};
pub use limits::{BurstFault, Limit, Limits, MAX_FILL, MAX_LIMITS};
pub use policy::{Identity, Mode, OnError, Policy, UnknownName};
pub use quota::Quota;
pub use rate::{
    Rate, RateError, RateFault, RateFaultKind, Wait, WaitError, WaitFault, WaitFaultKind,
};
