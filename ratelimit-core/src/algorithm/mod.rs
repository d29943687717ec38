//! The arithmetic: one file per algorithm, each a plain-data state and a pure step.
//!
//! A step takes a state, a limit in ticks ([`Terms`]), the instant `now` in the same ticks, and a
//! cost; it answers with a [`Verdict`] and with the state to store, if any. Integers only: no
//! answer is ever rounded in favour of the caller.
//!
//! What holds for each of them:
//!
//! - A denied call costs nothing; a denial stores nothing, except to repair a state that lies
//!   further ahead than its policy could ever put it.
//! - [`Verdict::retry_after`] is exact: the same call, alone, succeeds at that instant and fails
//!   one tick before.
//! - A clock that steps back never grants, and never makes a call wait longer than its policy ever
//!   could: a window takes its history along, as if no time had passed, and a bucket owes so much
//!   more, at most until it is empty.
//! - A limit that is changed on a live key is no fresh budget: a bucket keeps its debt in time, at
//!   most to empty; windows carry their counts. Where calls of one key bring limits of different
//!   periods, each period has a state of its own, which starts from the most used of those there
//!   are; four periods are remembered beside those of the last call.

pub mod bucket;
pub mod fixed_window;
mod key_state;
mod kind;
pub mod leaky_bucket;
mod packing;
pub mod sliding_window;
pub mod sliding_window_counter;
mod state;
mod step;
mod stored;
mod terms;
mod whole_bucket;

pub use key_state::KeyState;
pub use kind::{Algorithm, AlgorithmSet, UnknownAlgorithm};
pub use packing::{Packed, Packing};
pub use step::{Step, Verdict, Write};
pub use stored::StateFault;
pub use terms::{Span, Terms};
pub use whole_bucket::{WholeBucket, WholeStep};

#[cfg(test)]
mod tests;
