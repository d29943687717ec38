//! What the scripts are told, and what they answer.

use ratelimit_core::algorithm::{Span, Terms};
use ratelimit_core::{Algorithm, Check, Timestamp};

const NANOS: u64 = 1_000_000_000;

/// Seconds and nanoseconds, as states have them.
pub(super) fn instant(nanos: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    let (seconds, rest) = bytes.split_at_mut(8);
    seconds.copy_from_slice(&(nanos / NANOS).to_be_bytes());
    // Below a thousand million.
    let nanos = u32::try_from(nanos % NANOS).unwrap_or(0);
    rest.copy_from_slice(&nanos.to_be_bytes());
    bytes
}

/// The instant that a script answered.
pub(super) fn timestamp(bytes: &[u8]) -> Option<Timestamp> {
    let (seconds, nanos) = bytes.split_first_chunk()?;
    let nanos: &[u8; 4] = nanos.try_into().ok()?;
    let (seconds, nanos) = (u64::from_be_bytes(*seconds), u32::from_be_bytes(*nanos));
    let whole = seconds.checked_mul(NANOS)?.checked_add(nanos.into())?;
    Some(Timestamp::from_nanos(whole))
}

/// Whether the call may be let in later.
pub(super) fn is_delayed(check: &Check<'_>) -> bool {
    check.policy.algorithm() == Algorithm::LeakyBucket && !check.max_delay.is_zero()
}

/// A check, as the scripts that decide read it.
pub(super) fn check(check: &Check<'_>) -> Vec<u8> {
    let algorithm = check.policy.algorithm();
    let limits = check.limits.as_slice();
    let mut out = Vec::with_capacity(18 + 44 * limits.len());
    out.push(algorithm.number());
    // One to four.
    out.push(u8::try_from(limits.len()).unwrap_or(u8::MAX));
    out.extend(check.cost.to_be_bytes());
    let delay = if is_delayed(check) {
        u64::try_from(check.max_delay.as_nanos()).unwrap_or(u64::MAX)
    } else {
        0
    };
    out.extend(instant(delay));
    for limit in limits {
        let terms = limit.terms();
        out.extend(terms.period.to_be_bytes());
        match algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => {
                out.extend(terms.limit.to_be_bytes());
                // Periods are whole milliseconds.
                out.extend((terms.period / 1_000_000).to_be_bytes());
            }
            Algorithm::SlidingWindow => {
                out.extend(terms.limit.to_be_bytes());
                out.extend(instant(terms.period));
            }
            _ => bucket(terms, check.cost, &mut out),
        }
    }
    out
}

fn bucket(terms: &Terms, cost: u32, out: &mut Vec<u8>) {
    out.extend(terms.q.to_be_bytes());
    for Span { whole, part } in [terms.fill, terms.time_of(cost)] {
        out.extend(instant(whole));
        out.extend(part.to_be_bytes());
    }
}

/// What a script says of one rate of a log: how much counts, when enough of it has left, and when
/// all of it will have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    pub(super) used: u64,
    pub(super) leaves: u64,
    pub(super) last: u64,
}

impl Logged {
    pub(super) const BYTES: usize = 32;

    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let (used, rest) = bytes.split_first_chunk()?;
        let (leaves, last) = rest.split_at_checked(12)?;
        Some(Self {
            used: u64::from_be_bytes(*used),
            leaves: timestamp(leaves)?.as_nanos(),
            last: timestamp(last)?.as_nanos(),
        })
    }
}
