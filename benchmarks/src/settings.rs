//! [`Settings`]: how much is measured.

use crate::results::Group;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often each contender of a case is measured.
    pub rounds: usize,
    /// A run of less than a minute that shows that everything works, and little more.
    pub quick: bool,
    /// Only cases whose name contains this.
    pub only: Option<String>,
    /// Where the report goes; else onto the standard output if it is not complete.
    pub output: Option<String>,
}

impl Settings {
    /// The default number of rounds.
    pub const ROUNDS: usize = 5;

    pub fn wants(&self, group: Group, case: &str) -> bool {
        let name = format!("{}, {case}", group.name()).to_lowercase();
        self.only
            .as_ref()
            .is_none_or(|only| name.contains(&only.to_lowercase()))
    }

    /// Whether the report may take the place of the one in the repository.
    pub fn is_complete(&self) -> bool {
        !self.quick && self.only.is_none()
    }

    /// The numbers of keys that keyed contenders are asked with.
    pub fn key_counts(&self) -> &'static [u32] {
        if self.quick {
            &[1, 1_000, 100_000]
        } else {
            &[1, 1_000, 100_000, 1_000_000, 10_000_000]
        }
    }

    /// The keys with which tables are filled to the brim.
    pub fn most_keys(&self) -> u32 {
        if self.quick { 200_000 } else { 10_000_000 }
    }

    /// How long a list of keys is gone through, and how often, in one round.
    pub fn decisions(&self, keys: u32) -> (usize, usize) {
        let (length, repeats) = match keys {
            0..=1_000 => (1 << 14, 64),
            1_001..=100_000 => (1 << 18, 4),
            _ => (1 << 19, 1),
        };
        if self.quick {
            (length / 8, (repeats / 4).max(1))
        } else {
            (length, repeats)
        }
    }
}
