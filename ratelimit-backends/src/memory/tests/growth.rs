//! What happens while segments are split.

use std::sync::atomic::AtomicBool;

use super::super::line::SLOTS;
use super::super::table::{Table, tag};
use super::*;
use crate::hash::{Fingerprint, Seeds};

#[test]
fn no_charge_is_lost_while_the_table_grows() {
    const KEYS: u32 = 30_000;
    let (backend, _clock) = backend(40_000);
    for limits in ["3/h", "3/h, 100/d"] {
        let policy = Policy::named(limits.into(), Algorithm::Gcra, limits.parse().unwrap());
        // Each thread starts elsewhere, so that new keys and known ones meet in every segment.
        let work = |first: u32| {
            let keys = (0..KEYS).map(move |key| (key + first) % KEYS);
            keys.filter(|key| admit(&backend, &policy, &key.to_string()))
                .count()
        };
        let admitted: usize = thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..4)
                .map(|thread| scope.spawn(move || work(thread * KEYS / 4)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(admitted, 3 * KEYS as usize, "{limits}");
        for key in 0..KEYS {
            assert!(
                !admit(&backend, &policy, &key.to_string()),
                "{limits} {key}"
            );
        }
        if limits == "3/h" {
            assert_eq!(backend.keys(), KEYS as usize);
            for key in 0..KEYS {
                let key = KeyBuf::of(&key.to_string());
                let check = Check::new(&policy, policy.limits(), key.as_ref());
                now(backend.reset(&[check])).unwrap();
            }
            assert_eq!(backend.keys(), 0);
        }
    }
}

#[test]
fn who_waits_for_a_line_that_is_split_locks_the_right_ones() {
    let policy = policy(Algorithm::Gcra, "1/h");
    let seeds = Seeds::random();
    let keys: Vec<Fingerprint> = (0..512)
        .map(|key: u32| seeds.key(&policy, KeyBuf::of(&key).as_ref()))
        .collect();
    for _ in 0..20 {
        let table = Table::new(40_000);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for start in [0, 85, 170] {
                let (table, keys, done) = (&table, &keys, &done);
                scope.spawn(move || {
                    // Two that have hardly ever a segment in common, as in a batch.
                    for pair in keys.as_chunks::<2>().0.iter().cycle().skip(start) {
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                        let locked = table.lock(pair);
                        for key in pair {
                            assert!(locked.empty(*key).is_some(), "its lines are not locked");
                        }
                    }
                });
            }
            while keys.iter().any(|key| table.split(*key, table.depth(*key))) {}
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_segment_is_nearly_full_before_it_is_split_and_nothing_is_lost_then() {
    let (backend, _clock) = backend(200_000);
    let policy = policy(Algorithm::Gcra, "1/h");
    let one_segment = backend.engine.states.table.lines();
    let mut keys = 0_u32;
    while backend.engine.states.table.lines() == one_segment {
        assert!(admit(&backend, &policy, &keys.to_string()));
        keys += 1;
    }
    let full = keys * 100 / (one_segment * u32::try_from(SLOTS).unwrap());
    assert!(
        full >= 72,
        "{full} %: as full as a table of the most keys is to be"
    );
    for key in 0..keys {
        assert!(!admit(&backend, &policy, &key.to_string()), "{key}");
    }
}

#[test]
fn no_key_shares_while_there_are_fewer_than_there_may_be() {
    let policy = policy(Algorithm::Gcra, "1/h");
    for (keys, times) in [(40_u32, 500), (3_000, 20)] {
        for _ in 0..times {
            let (backend, _clock) = backend(keys as usize);
            for key in 0..keys {
                assert!(admit(&backend, &policy, &key.to_string()), "{key}/{keys}");
            }
        }
    }
}

#[test]
fn what_is_moved_by_a_split_is_expected_as_before() {
    let short = policy(Algorithm::Gcra, "1/m");
    let brief = Policy::named("brief".into(), Algorithm::Gcra, "1/s".parse().unwrap());
    for round in 0..200 {
        let (backend, clock) = backend(8_192);
        let (states, reclaim) = (&backend.engine.states, &backend.engine.reclaim);
        let expires = clock.now().plus(MINUTE);
        let key = KeyBuf::of("k");
        let check = Check::new(&short, short.limits(), key.as_ref());
        let key = backend.engine.key(&check);
        let pass = |lines: u32| {
            for _ in 0..lines / 2 {
                reclaim.in_passing(states, clock.now());
            }
        };
        assert!(states.table.split(key, states.table.depth(key)));
        assert!(admit(&backend, &short, "k") && admit(&backend, &brief, "found"));
        let lines = states.table.lines();
        pass(2 * lines);
        clock.advance(Duration::from_secs(3));
        while backend.keys() > 1 {
            pass(2);
        }
        // Wherever the hand is when the segment is split.
        pass(lines - lines * round / 200);
        assert!(states.table.split(key, states.table.depth(key)));
        for line in 0..2 * states.table.lines() {
            pass(2);
            assert!(reclaim.is_due(expires), "{round}: {line}");
        }
    }
}

#[test]
fn of_two_that_find_a_segment_full_one_splits_it() {
    let policy = policy(Algorithm::Gcra, "1/h");
    let table = Table::new(40_000);
    let key = Seeds::random().key(&policy, KeyBuf::of("k").as_ref());
    let depth = table.depth(key);
    assert!(table.split(key, depth));
    let lines = table.lines();
    assert!(table.split(key, depth), "there is room now");
    assert_eq!(table.lines(), lines);
    while table.split(key, table.depth(key)) {}
    assert!(table.split(key, depth));
    assert!(!table.split(key, table.depth(key)));
}

#[test]
fn no_key_shares_when_many_threads_bring_the_keys_that_there_may_be() {
    const THREADS: u32 = 64;
    let policy = policy(Algorithm::Gcra, "1/h");
    for _ in 0..4 {
        let (backend, _clock) = backend(20_000);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (backend, policy) = (&backend, &policy);
                scope.spawn(move || {
                    for key in (thread..20_000).step_by(THREADS as usize) {
                        assert!(admit(backend, policy, &key.to_string()));
                    }
                });
            }
        });
        assert_eq!((backend.keys(), backend.engine.overflowing()), (20_000, 0));
    }
}

#[test]
fn who_moves_a_key_says_which() {
    let (backend, _clock) = backend(10);
    let table = &backend.engine.states.table;
    let policy = policy(Algorithm::Gcra, "1/h");
    let key = KeyBuf::of("k");
    let key = backend
        .engine
        .key(&Check::new(&policy, policy.limits(), key.as_ref()));
    assert!(admit(&backend, &policy, "k"));
    for _ in 0..3 {
        let moved = Mutex::new(Vec::new());
        assert!(table.relocate(key, |seen| moved.lock().unwrap().push(seen.head.tag())));
        assert_eq!(*moved.lock().unwrap(), [tag(key)]);
        assert!(!admit(&backend, &policy, "k"));
    }
}

#[test]
fn a_key_in_a_line_that_was_passed_already_is_expected() {
    let policy = policy(Algorithm::Gcra, "1/m");
    let (backend, clock) = backend(8_192);
    let (states, reclaim) = (&backend.engine.states, &backend.engine.reclaim);
    let lines = states.table.lines();
    for key in 0..100 {
        // What is kept before the hand is everywhere, anywhere before it.
        for _ in 0..key {
            reclaim.in_passing(states, clock.now());
        }
        assert!(admit(&backend, &policy, &key.to_string()));
        for _ in 0..lines {
            reclaim.in_passing(states, clock.now());
            assert!(reclaim.is_due(clock.now().plus(MINUTE)), "{key}");
        }
        let key = KeyBuf::of(&key.to_string());
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        now(backend.reset(&[check])).unwrap();
    }
}

#[test]
fn of_the_keys_of_a_line_the_one_that_expires_first_is_expected() {
    let short = policy(Algorithm::Gcra, "1/m");
    let long = Policy::named("long".into(), Algorithm::Gcra, "1/d".parse().unwrap());
    // In some of these it is alone in its line, or in the last slot.
    for _ in 0..10 {
        let (backend, clock) = backend(40);
        let (states, reclaim) = (&backend.engine.states, &backend.engine.reclaim);
        assert!(admit(&backend, &short, "first"));
        for key in 0..39 {
            assert!(admit(&backend, &long, &key.to_string()));
        }
        for _ in 0..3 * states.table.lines() {
            reclaim.in_passing(states, clock.now());
            assert!(reclaim.is_due(clock.now().plus(MINUTE)));
        }
    }
}
