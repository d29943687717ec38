//! [`Quota`]: what is allowed, in terms that every contender can express.

use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// What a case allows. Buckets that never run dry are large and refill slowly, rather than fast,
/// so that no key expires while it is measured: a key that is as good as fresh is no work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Every call is admitted, also when few keys take all of them.
    AllowFew,
    /// Every call is admitted, and a key that was used once stays live for half an hour.
    AllowMany,
    /// One call is admitted, and every later one denied.
    Deny,
    /// Every call is admitted, and a key is as good as fresh a tenth of a second after its call.
    Brief,
}

impl Quota {
    /// The quota under which a case with so many keys admits everything.
    pub fn allow(keys: u32) -> Self {
        if keys < 100_000 {
            Self::AllowFew
        } else {
            Self::AllowMany
        }
    }

    /// Whether a call on a key that was used is admitted.
    pub fn allows(self) -> bool {
        self != Self::Deny
    }

    /// The time in which one unit comes back.
    pub fn one_per(self) -> Duration {
        match self {
            Self::AllowFew => Duration::from_mins(1),
            Self::AllowMany => Duration::from_mins(30),
            Self::Deny => 366 * DAY,
            Self::Brief => Duration::from_millis(100),
        }
    }

    /// The units that can be taken at once. All of them come back in less than a hundred years,
    /// which every contender can count.
    pub fn burst(self) -> u32 {
        match self {
            Self::AllowFew => 50_000_000,
            Self::AllowMany => 1_500_000,
            Self::Deny => 1,
            Self::Brief => 1_000_000,
        }
    }
}
