//! The cases: one file for each kind of question.

pub mod algorithms;
pub mod calls;
pub mod floor;
pub mod growth;
pub mod instructions;
pub mod keyed;
pub mod pauses;
pub mod threads;

use crate::keys::BenchKey;
use crate::racer::{Racer, Round};

/// How many keys are made at a time where there are too many to have all of them at once.
pub const CHUNK: u32 = 1 << 16;

/// Uses each key once, which is admitted under every quota.
pub fn fill<K: BenchKey>(racer: &dyn Racer<K>, keys: u32) {
    for start in (0..keys).step_by(CHUNK as usize) {
        let end = keys.min(start + CHUNK);
        let chunk: Vec<K> = (start..end).map(K::number).collect();
        racer.time(Round {
            keys: &chunk,
            repeats: 1,
            allowed: true,
        });
    }
}

/// The nanoseconds that one decision of a round takes.
pub fn nanos_each<K>(racer: &dyn Racer<K>, round: Round<'_, K>) -> f64 {
    racer.time(round).as_nanos() as f64 / round.decisions() as f64
}
