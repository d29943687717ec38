//! Backends around backends: each is a [`Layer`](ratelimit_core::Layer) of its own, and they compose.

mod answered;
mod denial_cache;
mod lease;
mod subject;
mod timeout;

use ratelimit_core::{Error, ErrorKind};

pub use denial_cache::{DenialCache, DenialStats};
pub use lease::{Lease, LeaseStats};
pub use timeout::Timeout;

/// The error of a backend that does not give one answer for each question.
fn miscounted(answers: usize, questions: usize) -> Error {
    let message = format!("the backend gave {answers} answers to {questions} questions");
    Error::new(ErrorKind::Protocol, message)
}
