//! A rate limiter as an attribute: checked while compiling, exact, fast, calm when its store breaks.
//!
//! ```
//! use ratelimit::{Rejection, ratelimit};
//!
//! #[ratelimit(key = account, rate = "2/h")]
//! fn export(account: u64) -> Result<String, Rejection> {
//!     Ok(format!("exported account {account}"))
//! }
//!
//! assert!(export(7).is_ok());
//! assert!(export(7).is_ok());
//! assert!(matches!(export(7), Err(Rejection::Limited(_))));
//! assert!(export(8).is_ok(), "each account has a budget of its own");
//! ```
//!
//! - [`macro@ratelimit`] and [`macro@aratelimit`] are the attributes, with all of their arguments.
//! - [`Registry`] has the backends of a process, and everything that the attributes do as functions.
//! - [`Rejection`] says why a call did not run, [`FromRejection`] what a function makes of it.
//! - [`RequestContext`] is where `key = "ip"` and its like come from.
//! - [`testing`] lets guarded functions be tested without sleeping.
//! - [`choosing`] helps to choose a backend.
//! - [`Algorithm`] has the algorithms, [`Rate`] the grammar of rates.
//!
//! # Features
//!
//! | feature | what it brings |
//! |---|---|
//! | `macros` (default) | the attributes, [`rate!`], `#[derive(Key)]` |
//! | `http` | [`RequestContext`] for the types of the `http` crate |
//! | `axum` | the same for axum's extractors, and rejections as responses |
//! | `redis`, `redis-tls` | `RedisBackend`: Redis and Valkey |
//! | `postgres`, `mysql`, `sqlite`, `sql-tls` | `SqlBackend`: PostgreSQL, MySQL and MariaDB, SQLite |
//! | `mongodb`, `mongodb-srv` | `MongoBackend`: MongoDB |
//! | `memcached`, `cas` | `MemcachedBackend`: Memcached; `CasBackend`: any store that compares and swaps |
//! | `layers` | backends around backends: a timeout, remembered denials, leases |
//!
//! # What mistakes print
//!
//! **A bad attribute** is a compile error under the token that is wrong:
//!
//! ```text
//! error: invalid rate "10/fortnight": at `fortnight`: unknown unit; the units are ms, s (sec, second,
//!        seconds), m (min, minute, minutes), h (hr, hour, hours), d (day, days) and w (week, weeks)
//!  --> src/main.rs:3:20
//!   |
//! 3 | #[ratelimit(rate = "10/fortnight")]
//!   |                    ^^^^^^^^^^^^^^
//! ```
//!
//! as is a function that could not say no:
//!
//! ```text
//! error[E0277]: the return type `u32` cannot say that a call was rejected
//!  --> src/main.rs:4:11
//!   |
//! 4 | fn f() -> u32 {
//!   |           ^^^ a rejected call has nothing to return here
//!   |
//!   = note: return `Result<T, E>` where `E: From<ratelimit::Rejection>` (such as `Result<T,
//!           ratelimit::Rejection>`), `Option<T>`, or a response of a supported web framework whose
//!           feature is on
//!   = note: for a `Result` with an error type of your own: `impl From<ratelimit::Rejection> for MyError`
//!   = note: or add `on_limit = |rejection| …` to the attribute, which makes the value to return
//! ```
//!
//! **A faulty start-up** says everything at once, with the file and line of each attribute:
//!
//! ```standalone_crate
//! use ratelimit::{MemoryBackend, Override, Registry, Rejection, ratelimit};
//!
//! #[ratelimit(name = "export", rate = "10/m", backend = "rediss")]
//! fn export() -> Result<(), Rejection> {
//!     Ok(())
//! }
//!
//! let faults = Registry::builder()
//!     .backend("redis", MemoryBackend::new())
//!     .override_policy("exprot", Override::new())
//!     .install()
//!     .unwrap_err()
//!     .to_string();
//! let faults: Vec<_> = faults.lines().collect();
//! assert_eq!(faults[0], "2 faults in the rate limits");
//! assert_eq!(
//!     faults[1],
//!     "  an override names an unknown policy `exprot`; did you mean `export`? there are: export"
//! );
//! // And, behind the place of the attribute:
//! let fault = "policy `export`: unknown backend `rediss`; did you mean `redis`? there are: redis";
//! assert!(faults[2].ends_with(fault));
//! ```
//!
//! **A backend that is not installed**, **a missing key** and **an impossible cost** are rejections:
//!
//! ```
//! use ratelimit::{Rejection, ratelimit};
//!
//! #[ratelimit(rate = "10/m", backend = "redis")]
//! fn elsewhere() -> Result<(), Rejection> {
//!     Ok(())
//! }
//!
//! #[ratelimit(rate = "10/m", key = "ip")]
//! fn by_address() -> Result<(), Rejection> {
//!     Ok(())
//! }
//!
//! #[ratelimit(rate = "10/m", cost = rows.len())]
//! fn insert(rows: &[u64]) -> Result<(), Rejection> {
//!     Ok(())
//! }
//!
//! let said = |result: Result<(), Rejection>| result.unwrap_err().to_string();
//! assert_eq!(
//!     said(elsewhere()),
//!     "rate limiter unavailable: configuration: no backend `redis` is registered; registered: memory"
//! );
//! assert_eq!(said(by_address()), "no rate limit key: no argument of the call provides `ip`");
//! assert_eq!(said(insert(&[0; 11])), "a cost of 11 can never be admitted: at most 10 at once");
//! ```

mod bridge;
#[doc = include_str!("choosing.md")]
pub mod choosing {}
mod guard;
pub mod registry;
mod rejection;
pub mod request;
mod response;
mod site;
pub mod testing;
mod wait;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(feature = "cas")]
pub use ratelimit_backends::cas::{self, CasBackend, CasBuilder, CasStore};
#[cfg(feature = "layers")]
pub use ratelimit_backends::layers;
#[cfg(feature = "memcached")]
pub use ratelimit_backends::memcached::{MemcachedBackend, MemcachedBuilder};
pub use ratelimit_backends::memory::{MemoryBackend, MemoryBuilder, MemoryLimiter};
#[cfg(feature = "mongodb")]
pub use ratelimit_backends::mongodb::{self, MongoBackend, MongoBuilder};
#[cfg(feature = "redis")]
pub use ratelimit_backends::redis::{RedisBackend, RedisBuilder};
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use ratelimit_backends::sql::{self, SqlBackend, SqlBuilder};
pub use ratelimit_core as core;
pub use ratelimit_core::{
    Adjust, Algorithm, AlgorithmSet, Answers, Backend, BoxFuture, BurstFault, Capabilities, Charge,
    Check, Checked, Clock, ClockKind, Decision, Error, ErrorKind, Join, JoinScope, Key, KeyBuf,
    KeyRef, Layer, Limit, Limits, ManualClock, Mode, MonotonicClock, OnError, Outcome, Policy,
    Pong, Quota, Rate, RateError, Source, Sweep, Swept, SystemClock, Timestamp, Wait, WaitError,
};
#[cfg(feature = "macros")]
pub use ratelimit_macros::{Key, aratelimit, ratelimit};
pub use registry::{
    Ask, Builder, Fault, InstallError, Location, Override, PolicyInfo, Registry, SiteInfo,
};
pub use rejection::Rejection;
pub use request::RequestContext;
pub use response::FromRejection;

/// The programs in the README are compiled, and run where they can be.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../../README.md")]
struct Readme;

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
