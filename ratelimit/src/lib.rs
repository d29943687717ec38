#![cfg_attr(docsrs, feature(doc_cfg))]
//! placeholder

mod bridge;
mod guard;
pub mod registry;
mod rejection;
pub mod request;
mod response;
mod site;
pub mod testing;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use ratelimit_backends::memory::{MemoryBackend, MemoryBuilder};
pub use ratelimit_core as core;
pub use ratelimit_core::{
    Adjust, Algorithm, AlgorithmSet, Answers, Backend, BoxFuture, BurstFault, Capabilities, Charge,
    Check, Clock, ClockKind, Decision, Error, ErrorKind, Join, JoinScope, Key, KeyBuf, KeyRef,
    Layer, Limit, Limits, ManualClock, Mode, MonotonicClock, OnError, Outcome, Policy, Pong, Quota,
    Rate, RateError, Source, Sweep, Swept, SystemClock, Timestamp,
};
#[cfg(feature = "macros")]
pub use ratelimit_macros::{Key, aratelimit, ratelimit};
pub use registry::{Ask, Builder, Fault, InstallError, Override, PolicyInfo, Registry};
pub use rejection::Rejection;
pub use request::RequestContext;
pub use response::FromRejection;

/// A [`Rate`] that is checked while compiling, usable as a constant.
///
/// ```
/// use ratelimit::{Rate, rate};
///
/// const LOGIN: Rate = rate!("10/m");
/// assert_eq!(LOGIN.limit(), 10);
/// ```
///
/// ```compile_fail
/// const LOGIN: ratelimit::Rate = ratelimit::rate!("10/fortnight");
/// ```
#[cfg(feature = "macros")]
#[macro_export]
macro_rules! rate {
    ($($tokens:tt)*) => {
        $crate::__private::macros::rate! { [$crate] $($tokens)* }
    };
}
