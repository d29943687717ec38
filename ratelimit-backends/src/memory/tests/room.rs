//! Which keys are kept, and how long.

use super::*;

#[test]
fn expired_keys_make_room_in_passing() {
    for algorithm in Algorithm::ALL {
        let (backend, clock) = backend(10);
        let policy = policy(algorithm, "1/m");
        for round in 0..100 {
            for key in 0..10 {
                assert!(
                    admit(&backend, &policy, &format!("{round}-{key}")),
                    "{algorithm}"
                );
            }
            assert!(backend.keys() <= 10, "{algorithm}");
            clock.advance(2 * MINUTE);
        }
    }
}

#[test]
fn a_flood_neither_grows_memory_nor_frees_a_denied_key() {
    let (backend, clock) = backend(100);
    let policy = policy(Algorithm::TokenBucket, "1/h");
    assert!(admit(&backend, &policy, "denied"));
    for index in 0..10_000 {
        admit(&backend, &policy, &format!("flood-{index}"));
        assert!(!admit(&backend, &policy, "denied"));
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(backend.keys(), 100);
}

#[test]
fn a_refunded_key_makes_room_like_any_fresh_one() {
    let (backend, _clock) = backend(1);
    let policy = policy(Algorithm::TokenBucket, "2/h");
    let (a, b) = (KeyBuf::of("a"), KeyBuf::of("b"));
    let check = Check::new(&policy, policy.limits(), a.as_ref());
    let charge = backend
        .decide_now(&check)
        .unwrap()
        .unwrap()
        .charge()
        .clone();
    now(backend.adjust(&[Adjust::refund(check, charge)]))
        .remove(0)
        .unwrap();
    let check = Check::new(&policy, policy.limits(), b.as_ref());
    backend.decide_now(&check).unwrap().unwrap();
    assert_eq!(backend.keys(), 1);
    assert_eq!(
        remaining(&backend, &policy, "a"),
        2,
        "a is fresh, and not in the overflow"
    );
    assert_eq!(backend.engine.overflowing(), 0, "b has the room of a");
}

#[test]
fn the_bound_holds_for_every_size() {
    for max_keys in [1, 2, 7, 100, 4_096, 9_999] {
        let (backend, _clock) = backend(max_keys);
        let policy = policy(Algorithm::FixedWindow, "1/h");
        for key in 0..2 * max_keys + 10 {
            admit(&backend, &policy, &key.to_string());
        }
        assert!(
            backend.keys() <= max_keys,
            "{} of {max_keys}",
            backend.keys()
        );
        assert!(
            backend.keys() > max_keys * 9 / 10,
            "{} of {max_keys}",
            backend.keys()
        );
    }
}

#[test]
fn a_sweep_removes_what_a_dry_run_counts() {
    let (backend, clock) = backend(100_000);
    let short = policy(Algorithm::TokenBucket, "1/m");
    let long = policy(Algorithm::FixedWindow, "1/d");
    for key in 0..500 {
        admit(&backend, &short, &key.to_string());
    }
    for key in 0..30 {
        admit(&backend, &long, &key.to_string());
    }
    clock.advance(2 * MINUTE);
    let counted = now(backend.sweep(Sweep::new().with_dry_run(true))).unwrap();
    assert_eq!((counted.removed, counted.kept), (500, 30));
    assert_eq!(backend.keys(), 530);
    let swept = now(backend.sweep(Sweep::new().with_batch(7))).unwrap();
    assert_eq!(swept, counted);
    assert_eq!(now(backend.ping()).unwrap().keys, Some(30));
}

#[test]
fn what_is_reset_leaves_nothing_behind() {
    let (backend, _clock) = backend(10);
    for limits in ["1/d", "1/d, 2/d"] {
        let policy = policy(Algorithm::FixedWindow, limits);
        let key = KeyBuf::of("k");
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        for _ in 0..10_000 {
            assert!(backend.decide_now(&check).unwrap().unwrap().is_allowed());
            now(backend.reset(&[check])).unwrap();
        }
        assert_eq!(backend.keys(), 0);
        assert_eq!(backend.engine.states.unpacked(), 0);
    }
}

#[test]
fn a_key_is_kept_as_long_as_the_longest_of_its_limits_remembers() {
    let short: Limits = "100/s".parse().unwrap();
    let (backend, clock) = backend(10);
    let policy = policy(Algorithm::FixedWindow, "3/d");
    let (key, other) = (KeyBuf::of("k"), KeyBuf::of("other"));
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let briefly = Check::new(&policy, &short, key.as_ref());
    backend.decide_now(&briefly).unwrap().unwrap();
    let charged = backend.decide_now(&check.with_cost(2)).unwrap().unwrap();
    let denied = || {
        clock.advance(Duration::from_secs(2));
        now(backend.sweep(Sweep::new())).unwrap();
        !admit(&backend, &policy, "k")
    };
    // A denial under other limits does not let go of it.
    let refused = backend
        .decide_now(&briefly.with_cost(100))
        .unwrap()
        .unwrap();
    assert!(!refused.is_allowed());
    assert!(denied());
    // A batch that is undone leaves nothing behind, also of its limits.
    let full = Check::new(&policy, policy.limits(), other.as_ref()).with_cost(3);
    backend.decide_now(&full).unwrap().unwrap();
    let answers = now(backend.decide(&[briefly, full], Join::All));
    assert!(!answers[0].as_ref().unwrap().is_allowed());
    assert!(denied());
    // A correction under other limits does not, either.
    for by in [0, -1] {
        let adjust = Adjust::new(briefly, charged.charge().clone(), by);
        now(backend.adjust(&[adjust])).remove(0).unwrap();
        clock.advance(Duration::from_secs(2));
        now(backend.sweep(Sweep::new())).unwrap();
    }
    assert_eq!(remaining(&backend, &policy, "k"), 0);
}

#[test]
fn keys_of_a_time_to_come_are_not_in_the_way_for_longer_than_they_ever_would_be() {
    const YEARS: Duration = Duration::from_hours(10 * 365 * 24);
    for algorithm in Algorithm::ALL {
        let (backend, clock) = backend(2);
        let policy = policy(algorithm, "1/m");
        clock.advance(YEARS);
        // Two keys that are kept, and one that finds no room.
        for key in ["a", "b", "c"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
        // It is known by then that nothing can be forgotten for a while.
        for key in 0..5 {
            assert!(!admit(&backend, &policy, &key.to_string()), "{algorithm}");
        }
        clock.step_back(YEARS);
        assert!(!admit(&backend, &policy, "a"), "{algorithm}");
        assert!(!admit(&backend, &policy, "d"), "{algorithm}");
        clock.advance(3 * MINUTE);
        for key in ["e", "f"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
        // The same when only keys that were kept already saw that time.
        clock.advance(YEARS);
        for key in ["e", "f"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
        clock.step_back(YEARS);
        admit(&backend, &policy, "d");
        clock.advance(3 * MINUTE);
        for key in ["g", "h"] {
            assert!(admit(&backend, &policy, key), "{algorithm}");
        }
    }
}

#[test]
fn a_state_that_fits_no_slot_is_kept_once() {
    let (backend, clock) = backend(1);
    let policy = policy(Algorithm::TokenBucket, "3/s, 9/m");
    let unpacked = || backend.engine.states.unpacked();
    let (a, b) = (KeyBuf::of("a"), KeyBuf::of("b"));
    let check = |key| Check::new(&policy, policy.limits(), key);
    for allowed in [true, true, true, false] {
        let answers = now(backend.decide(&[check(a.as_ref())], Join::All));
        assert_eq!(answers[0].as_ref().unwrap().is_allowed(), allowed);
        assert_eq!(unpacked(), 1);
    }
    clock.advance(2 * MINUTE);
    assert!(admit(&backend, &policy, "b"), "in the place of a");
    assert_eq!((backend.keys(), unpacked()), (1, 1));
    now(backend.reset(&[check(b.as_ref())])).unwrap();
    assert_eq!((backend.keys(), unpacked()), (0, 0));
}

#[test]
fn a_sweep_removes_no_more_at_once_than_it_was_told() {
    let (backend, clock) = backend(100);
    let policy = policy(Algorithm::TokenBucket, "1/m");
    for key in 0..50 {
        admit(&backend, &policy, &key.to_string());
    }
    clock.advance(2 * MINUTE);
    let swept = now(backend.sweep(Sweep::new().with_batch(1))).unwrap();
    assert_eq!((swept.removed, swept.kept), (50, 0));
}

#[test]
fn a_bound_beyond_all_memory_allocates_no_table_for_it() {
    let (backend, _clock) = backend(usize::MAX);
    let policy = policy(Algorithm::TokenBucket, "1/h");
    assert!(admit(&backend, &policy, "k") && !admit(&backend, &policy, "k"));
    assert_eq!(backend.max_keys(), MemoryBackend::MOST_KEYS);
    const { assert!(MemoryBackend::MOST_KEYS > 570_000_000) };
    let (none, _clock) = super::backend(0);
    assert_eq!(none.max_keys(), 1);
}

#[test]
fn every_key_of_the_bound_can_be_used() {
    let backend = full_backend(MemoryBackend::builder().max_keys(8_193));
    assert_eq!(backend.keys(), 8_193);
}

#[test]
fn what_charges_nothing_is_not_kept_and_what_is_charged_later_is() {
    let (backend, _clock) = backend(2);
    let policy = policy(Algorithm::FixedWindow, "3/d");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let nothing = backend.decide_now(&check.with_cost(0)).unwrap().unwrap();
    let adjust = |by| {
        let adjust = Adjust::new(check, nothing.charge().clone(), by);
        now(backend.adjust(&[adjust])).remove(0).unwrap()
    };
    assert_eq!(adjust(0).remaining(), 3);
    assert_eq!(backend.keys(), 0);
    assert_eq!(adjust(2).remaining(), 1);
    assert_eq!(backend.keys(), 1);
}

#[test]
fn a_key_that_was_charged_again_is_kept_longer() {
    let (backend, clock) = backend(1);
    let policy = policy(Algorithm::TokenBucket, "2/m");
    assert!(admit(&backend, &policy, "k"));
    clock.advance(MINUTE / 3);
    assert!(admit(&backend, &policy, "k"));
    clock.advance(MINUTE / 3);
    let swept = now(backend.sweep(Sweep::new())).unwrap();
    assert_eq!((swept.removed, swept.kept), (0, 1));
    assert_eq!(remaining(&backend, &policy, "k"), 1);
    clock.advance(MINUTE / 3);
    let swept = now(backend.sweep(Sweep::new())).unwrap();
    assert_eq!((swept.removed, swept.kept), (1, 0));
}

#[test]
fn a_key_that_is_fresh_sooner_since_the_clock_stepped_back_makes_room() {
    let hours = |hours| Duration::from_hours(hours);
    for limits in ["1/m", "1/m, 9/m"].repeat(5) {
        let (backend, clock) = backend(2);
        let short = policy(Algorithm::FixedWindow, limits);
        let long = Policy::named("long".into(), Algorithm::Gcra, "1/d".parse().unwrap());
        assert!(admit(&backend, &long, "day"));
        clock.advance(hours(12));
        assert!(admit(&backend, &short, "a"));
        // It is known by then when the first of the two can be forgotten.
        for key in 0..9 {
            admit(&backend, &long, &key.to_string());
        }
        // By less than keys are kept.
        clock.step_back(hours(6));
        assert!(!admit(&backend, &short, "a"), "{limits}");
        clock.advance(2 * MINUTE);
        assert!(admit(&backend, &short, "b"));
        assert_eq!(backend.engine.overflowing(), 1, "b has the room of a");
    }
}

#[test]
fn a_key_for_which_another_was_forgotten_does_not_share() {
    let (backend, clock) = backend(46);
    let table = &backend.engine.states.table;
    let short = policy(Algorithm::Gcra, "1/m");
    let long = Policy::named("long".into(), Algorithm::Gcra, "1/d".parse().unwrap());
    let id = |policy: &Policy, key: u32| {
        let key = KeyBuf::of(&key.to_string());
        let check = Check::new(policy, policy.limits(), key.as_ref());
        backend.engine.key(&check)
    };
    while table.split(id(&long, 0), table.depth(id(&long, 0))) {}
    let [a, b] = table.lines_of(id(&long, 0));
    // So many keys of which these are the lines, the first one first.
    let keep = |policy: &Policy, count: usize, lines: [u32; 2]| {
        let keys = (1..1_000_000).filter(|key| table.lines_of(id(policy, *key)) == lines);
        for key in keys.take(count) {
            assert!(admit(&backend, policy, &key.to_string()));
        }
    };
    // The one in the middle could be moved if there were room in c; of c and d, none can.
    keep(&long, 4, [a, b]);
    keep(&long, 3, [b, a]);
    let mut others = (1..).map(|key| table.lines_of(id(&long, key)));
    let [_, c] = others
        .find(|[one, other]| *one == b && *other != a)
        .unwrap();
    let [_, d] = others
        .find(|[one, other]| *one == c && ![a, b].contains(other))
        .unwrap();
    keep(&long, 1, [b, c]);
    keep(&short, 1, [c, d]);
    keep(&long, 3, [c, d]);
    keep(&long, 4, [d, c]);
    clock.advance(2 * MINUTE);
    assert!(admit(&backend, &long, "0"));
    assert_eq!((backend.keys(), backend.engine.overflowing()), (16, 0));
}
