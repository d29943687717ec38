//! [`Racer`]: a contender in the loops that time it. The loops are generic, so that only the call
//! of a whole round goes through a vtable.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::contenders::Contender;
use crate::latencies::Latencies;
use crate::machine;

/// The times that a list of keys is gone through.
#[derive(Debug)]
pub struct Round<'a, K> {
    pub keys: &'a [K],
    pub repeats: usize,
    /// What every answer has to be.
    pub allowed: bool,
}

// Derived, they would ask it of the keys, too.
impl<K> Clone for Round<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Round<'_, K> {}

impl<K> Round<'_, K> {
    pub fn decisions(&self) -> usize {
        self.keys.len() * self.repeats
    }
}

/// A contender that can be timed.
pub trait Racer<K>: Send + Sync {
    /// The time that a round takes.
    fn time(&self, round: Round<'_, K>) -> Duration;

    /// The time until the last of several threads is through its round.
    fn time_together(&self, rounds: &[Round<'_, K>]) -> Duration;

    /// Times every check by itself.
    fn time_each(&self, keys: &[K], allowed: bool, into: &mut Latencies);

    /// See [`Contender::forget_expired`].
    fn forget_expired(&self) -> bool;
}

impl<K: Send + Sync, C: Contender<K>> Racer<K> for C {
    fn time(&self, round: Round<'_, K>) -> Duration {
        let start = Instant::now();
        go_through(self, round);
        start.elapsed()
    }

    fn time_together(&self, rounds: &[Round<'_, K>]) -> Duration {
        let start_line = Barrier::new(rounds.len());
        thread::scope(|scope| {
            let threads: Vec<_> = rounds
                .iter()
                .enumerate()
                .map(|(index, round)| {
                    let start_line = &start_line;
                    scope.spawn(move || {
                        machine::pin_to(index);
                        start_line.wait();
                        let start = Instant::now();
                        go_through(self, *round);
                        (start, Instant::now())
                    })
                })
                .collect();
            let times: Vec<_> = threads
                .into_iter()
                .map(|thread| thread.join().expect("the answers were as expected"))
                .collect();
            let first = times.iter().map(|(start, _)| *start).min();
            let last = times.iter().map(|(_, end)| *end).max();
            match (first, last) {
                (Some(first), Some(last)) => last - first,
                _ => Duration::ZERO,
            }
        })
    }

    fn time_each(&self, keys: &[K], allowed: bool, into: &mut Latencies) {
        let clock = into.clock().clone();
        let mut expected = 0;
        for key in keys {
            let start = clock.raw();
            let answer = black_box(self.is_allowed(black_box(key)));
            let end = clock.raw();
            expected += usize::from(answer == allowed);
            into.record(start, end);
        }
        verify::<C>(expected, keys.len(), allowed);
    }

    fn forget_expired(&self) -> bool {
        Contender::forget_expired(self)
    }
}

/// The loop that is timed.
#[inline(never)]
fn go_through<K, C: Contender<K>>(contender: &C, round: Round<'_, K>) {
    let mut expected = 0;
    for _ in 0..round.repeats {
        for key in round.keys {
            let answer = black_box(contender.is_allowed(black_box(key)));
            expected += usize::from(answer == round.allowed);
        }
    }
    verify::<C>(expected, round.decisions(), round.allowed);
}

/// A time is worth nothing if the answers were others than the case says.
fn verify<C>(expected: usize, decisions: usize, allowed: bool) {
    assert_eq!(
        expected,
        decisions,
        "only so many of the answers of {} were `allowed: {allowed}`, which all of them had to be",
        core::any::type_name::<C>()
    );
}
