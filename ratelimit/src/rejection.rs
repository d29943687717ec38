//! [`Rejection`]: why a guarded function did not run.

use core::fmt;
use core::time::Duration;

use ratelimit_core::{Decision, Error};

/// Why a guarded function did not run.
///
/// It is an [`Error`](core::error::Error), so that `?` and `Box<dyn Error>` take it; an error type
/// of your own takes it with `From<Rejection>`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// The limit is reached; the decision says when to try again.
    Limited(Decision),
    /// The call costs more than could ever be admitted at once, or a negative amount: trying again
    /// is of no use.
    #[non_exhaustive]
    Unsatisfiable {
        /// What it costs.
        cost: i128,
        /// The most that can be admitted at once.
        capacity: u32,
    },
    /// There is no decision: the backend failed and the posture is `closed`, or the policy cannot
    /// be used at all (its backend is not registered, its limits are wrong). The latter has the
    /// kinds [`Configuration`](crate::ErrorKind::Configuration) and
    /// [`Unsupported`](crate::ErrorKind::Unsupported), for which postures do not matter.
    Unavailable(Error),
    /// What the key is to be made of is not in the request.
    #[non_exhaustive]
    MissingKey {
        /// The named source, as in `key = "…"`.
        wanted: &'static str,
    },
}

impl Rejection {
    /// How long until the same call may succeed, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited(decision) => Some(decision.retry_after()),
            _ => None,
        }
    }

    /// The decision, where there was one.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Limited(decision) => Some(decision),
            _ => None,
        }
    }
}

/// The time rounded up, to a tenth of a second or to a millisecond.
fn readable(time: Duration) -> Duration {
    let step = if time >= Duration::from_secs(1) {
        100_000_000
    } else {
        1_000_000
    };
    let nanos = time.as_nanos().div_ceil(step) * step;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited(decision) => {
                let (limit, retry_after) = (decision.limit(), readable(decision.retry_after()));
                write!(
                    f,
                    "rate limit of {limit} exceeded, try again in {retry_after:?}"
                )
            }
            Self::Unsatisfiable { cost, capacity } if *cost < 0 => {
                write!(
                    f,
                    "a cost of {cost} is negative; it must be 0 to {capacity}"
                )
            }
            Self::Unsatisfiable { cost, capacity } => {
                write!(
                    f,
                    "a cost of {cost} can never be admitted: at most {capacity} at once"
                )
            }
            Self::Unavailable(error) => write!(f, "rate limiter unavailable: {error}"),
            Self::MissingKey { wanted } if wanted.starts_with("header:") => {
                let name = &wanted["header:".len()..];
                write!(f, "no rate limit key: the request has no header `{name}`")
            }
            Self::MissingKey { wanted } => {
                write!(
                    f,
                    "no rate limit key: no argument of the call provides `{wanted}`"
                )
            }
        }
    }
}

impl core::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unavailable(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_enough_for_the_results_of_users() {
        // Clippy warns from 128 bytes on, in the user's crate.
        assert!(size_of::<Rejection>() <= 112, "{}", size_of::<Rejection>());
    }

    #[test]
    fn times_are_rounded_up_to_something_readable() {
        let readable = |nanos| format!("{:?}", readable(Duration::from_nanos(nanos)));
        assert_eq!(readable(0), "0ns");
        assert_eq!(readable(1), "1ms");
        assert_eq!(readable(999_000_001), "1s");
        assert_eq!(readable(1_199_999_946_135), "1200s");
        assert_eq!(readable(1_210_000_000), "1.3s");
    }
}
