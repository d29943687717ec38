//! What the machine itself takes for what a decision cannot do without.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use foldhash::fast::FixedState;
use quanta::Clock;

use crate::keys::{BenchKey, Numbers, amount};
use crate::results::{Group, Lane, Results};
use crate::settings::Settings;

/// The one column.
const TIME: &str = "ns";

const TURNS: u32 = 500_000;

/// Words of a cache line.
const LINE: usize = 8;

pub fn run(settings: &Settings, results: &mut Results) {
    let clock = Clock::new();
    let start = clock.raw();
    measure(settings, results, "reading the clock", || {
        let nanos = clock.delta_as_nanos(start, clock.raw());
        black_box(nanos);
    });
    let hasher = FixedState::with_seed(7);
    let key = String::number(123_456_789);
    measure(settings, results, "hashing 15 bytes", || {
        black_box(hasher.hash_one(black_box(key.as_bytes())));
    });
    let (lock, word) = (AtomicU64::new(0), AtomicU64::new(0));
    measure(
        settings,
        results,
        "a lock, a store, and the release",
        || {
            let taken = lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
            if black_box(taken).is_ok() {
                word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                lock.store(0, Ordering::Release);
            }
        },
    );
    for &keys in settings.key_counts().iter().filter(|keys| **keys > 1) {
        let case = format!("a line among those of {} keys", amount(keys));
        if !settings.wants(Group::Floor, &case) {
            continue;
        }
        let ring = ring(keys);
        let mut place = 0;
        measure(settings, results, &case, || {
            place = usize::try_from(ring[place]).expect("it was made from one");
            black_box(place);
        });
    }
}

fn measure(settings: &Settings, results: &mut Results, case: &str, mut work: impl FnMut()) {
    if !settings.wants(Group::Floor, case) {
        return;
    }
    let lane = Lane::new(TIME, || {
        let start = Instant::now();
        for _ in 0..TURNS {
            work();
        }
        start.elapsed().as_nanos() as f64 / f64::from(TURNS)
    });
    results.race(settings, Group::Floor, case, vec![lane]);
}

/// A line of 64 bytes for two keys, which is about what they take, in one random ring: each says where the
/// next one is, so that none can be fetched before the one before it is there. (S. Sattolo, "An
/// algorithm to generate a random cyclic permutation", 1986.)
fn ring(keys: u32) -> Vec<u64> {
    let lines = keys / 2;
    let mut order: Vec<u32> = (0..lines).collect();
    let mut numbers = Numbers::new(u64::from(keys));
    for last in (1..lines).rev() {
        order.swap(last as usize, numbers.below(last) as usize);
    }
    let mut ring = vec![0; lines as usize * LINE];
    for (line, next) in order.into_iter().enumerate() {
        ring[line * LINE] = u64::from(next) * LINE as u64;
    }
    ring
}
