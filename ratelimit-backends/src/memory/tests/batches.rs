//! Batches: each by itself, or all or none.

use super::*;

#[test]
fn a_joined_batch_charges_all_or_none() {
    for algorithm in Algorithm::ALL {
        let (backend, _clock) = backend(100_000);
        let policy = policy(algorithm, "3/h");
        let keys: Vec<_> = (0..20).map(|key| KeyBuf::of(&key)).collect();
        let checks: Vec<_> = keys
            .iter()
            .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
            .collect();
        // The last one has one unit left only.
        let last = checks[19].with_cost(2);
        backend.decide_now(&last).unwrap().unwrap();
        let answers = now(backend.decide(&checks, Join::All));
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap().is_allowed())
        );
        let answers = now(backend.decide(&checks, Join::All));
        for (index, answer) in answers.iter().enumerate() {
            let decision = answer.as_ref().unwrap();
            assert!(!decision.is_allowed(), "{algorithm}");
            assert_eq!(decision.retry_after().is_zero(), index != 19, "{algorithm}");
            assert_eq!(
                decision.remaining(),
                if index == 19 { 0 } else { 2 },
                "{algorithm}"
            );
        }
    }
}

#[test]
fn a_joined_batch_counts_its_own_checks_of_one_key() {
    let (backend, _clock) = backend(10);
    let policy = policy(Algorithm::SlidingWindow, "3/h");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let twice = [check.with_cost(2), check.with_cost(2)];
    let answers = now(backend.decide(&twice, Join::All));
    assert!(
        answers
            .iter()
            .all(|answer| !answer.as_ref().unwrap().is_allowed())
    );
    assert!(!answers[1].as_ref().unwrap().retry_after().is_zero());
    assert_eq!(backend.keys(), 0, "nothing was charged");
    let answers = now(backend.decide(&twice, Join::Each));
    assert!(answers[0].as_ref().unwrap().is_allowed());
    assert!(!answers[1].as_ref().unwrap().is_allowed());
}

#[test]
fn a_joined_batch_gives_back_what_it_took_from_the_overflow() {
    let (backend, _clock) = backend(1);
    let policy = policy(Algorithm::FixedWindow, "2/h");
    assert!(admit(&backend, &policy, "fills the backend"));
    let (b, c) = (KeyBuf::of("b"), KeyBuf::of("c"));
    let check = |key: &'static str| if key == "b" { b.as_ref() } else { c.as_ref() };
    let checks = [
        Check::new(&policy, policy.limits(), check("b")).with_cost(1),
        Check::new(&policy, policy.limits(), check("c")).with_cost(2),
    ];
    let answers = now(backend.decide(&checks, Join::All));
    assert!(
        answers
            .iter()
            .all(|answer| !answer.as_ref().unwrap().is_allowed())
    );
    assert!(admit(&backend, &policy, "b"));
    assert!(admit(&backend, &policy, "c"));
    assert!(!admit(&backend, &policy, "d"));
}

#[test]
fn what_can_never_be_decided_is_an_error_and_charges_nothing() {
    let (backend, _clock) = backend(10);
    let policy = policy(Algorithm::SlidingWindow, "3/h");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let error = backend
        .decide_now(&check.with_cost(4))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsatisfiable);
    let answers = now(backend.decide(&[check, check.with_cost(4)], Join::All));
    assert!(!answers[0].as_ref().unwrap().is_allowed());
    assert_eq!(
        answers[1].as_ref().unwrap_err().kind(),
        ErrorKind::Unsatisfiable
    );
    let long: Limits = "10001/h".parse().unwrap();
    let error = backend
        .decide_now(&Check::new(&policy, &long, key.as_ref()))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("sliding_window_counter"),
        "{error}"
    );
    assert_eq!(backend.keys(), 0);
    now(backend.close());
    assert_eq!(
        backend.decide_now(&check).unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(now(backend.ping()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn joined_batches_of_crossing_keys_do_not_deadlock() {
    let (backend, _clock) = backend(100_000);
    let policy = policy(Algorithm::TokenBucket, "1000/h");
    let keys: Vec<_> = (0..50).map(|key| KeyBuf::of(&key)).collect();
    let rounds = 100;
    let admitted: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (backend, policy, keys) = (&backend, &policy, &keys);
                scope.spawn(move || {
                    let mut checks: Vec<_> = keys
                        .iter()
                        .map(|key| Check::new(policy, policy.limits(), key.as_ref()))
                        .collect();
                    if thread % 2 == 0 {
                        checks.reverse();
                    }
                    let all = || now(backend.decide(&checks, Join::All));
                    (0..rounds)
                        .filter(|_| all()[0].as_ref().unwrap().is_allowed())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 800);
    assert_eq!(remaining(&backend, &policy, "none of them"), 1000);
    let check = Check::new(&policy, policy.limits(), keys[7].as_ref());
    assert_eq!(
        now(backend.peek(&[check])).remove(0).unwrap().remaining(),
        200
    );
}

#[test]
fn undoing_a_batch_takes_back_no_charge_of_another_caller() {
    let backend = full_backend_of_segments(ManualClock::new());
    let policy = policy(Algorithm::FixedWindow, "20000/d");
    let closed = Policy::named(
        "closed".into(),
        Algorithm::FixedWindow,
        "1/d".parse().unwrap(),
    );
    assert!(admit(&backend, &closed, "closed"));
    let admitted: usize = thread::scope(|scope| {
        let undone = scope.spawn(|| {
            for key in 0..20_000 {
                let (key, other) = (KeyBuf::of(&key), KeyBuf::of("closed"));
                let checks = [
                    Check::new(&policy, policy.limits(), key.as_ref()),
                    Check::new(&closed, closed.limits(), other.as_ref()),
                ];
                let answers = now(backend.decide(&checks, Join::All));
                assert!(!answers[0].as_ref().unwrap().is_allowed());
            }
        });
        let admitted = (0..40_000)
            .filter(|key| admit(&backend, &policy, &format!("alone {key}")))
            .count();
        undone.join().unwrap();
        admitted
    });
    assert!(admitted <= 20_000, "{admitted}");
    let left = (0..40_000)
        .filter(|key| admit(&backend, &policy, &format!("later {key}")))
        .count();
    assert_eq!(admitted + left, 20_000);
}

#[test]
fn an_undone_batch_keeps_no_key_longer() {
    let (backend, clock) = backend(10);
    let policy = policy(Algorithm::FixedWindow, "3/m");
    let day: Limits = "3/d".parse().unwrap();
    let (key, full) = (KeyBuf::of("k"), KeyBuf::of("full"));
    assert!(admit(&backend, &policy, "k"));
    let full = Check::new(&policy, policy.limits(), full.as_ref()).with_cost(3);
    backend.decide_now(&full).unwrap().unwrap();
    let checks = [Check::new(&policy, &day, key.as_ref()), full];
    now(backend.decide(&checks, Join::All));
    clock.advance(MINUTE);
    let swept = now(backend.sweep(Sweep::new())).unwrap();
    assert_eq!((swept.removed, swept.kept), (2, 0));
}

#[test]
fn no_new_key_of_a_batch_takes_the_place_of_another_of_it() {
    let policy = policy(Algorithm::FixedWindow, "1/m");
    // In some of these the two have a line in common.
    for other in 0..200 {
        let (backend, clock) = backend(1);
        assert!(admit(&backend, &policy, "a"));
        clock.advance(2 * MINUTE);
        let (a, b) = (KeyBuf::of("a"), KeyBuf::of(&other));
        let checks = [a.as_ref(), b.as_ref()].map(|key| Check::new(&policy, policy.limits(), key));
        for answer in now(backend.decide(&checks, Join::All)) {
            assert!(answer.unwrap().is_allowed());
        }
        assert!(!admit(&backend, &policy, "a"), "{other}");
        assert!(backend.keys() <= 1);
    }
}

#[test]
fn a_batch_charges_the_bucket_that_its_keys_share() {
    let (backend, _clock) = backend(1);
    let policy = policy(Algorithm::FixedWindow, "3/h");
    let other = Policy::named("other".into(), policy.algorithm(), *policy.limits());
    assert!(admit(&backend, &policy, "fills the backend"));
    let (b, c) = (KeyBuf::of("b"), KeyBuf::of("c"));
    let checks = [
        Check::new(&policy, policy.limits(), b.as_ref()),
        Check::new(&other, other.limits(), c.as_ref()).with_cost(3),
        Check::new(&policy, policy.limits(), c.as_ref()),
    ];
    for answer in now(backend.decide(&checks, Join::All)) {
        assert!(answer.unwrap().is_allowed());
    }
    assert!(!admit(&backend, &other, "d"));
    assert!(admit(&backend, &policy, "d"));
    assert!(!admit(&backend, &policy, "d"), "three of three are shared");
}

#[test]
fn a_cost_that_can_never_fit_is_an_error_for_known_keys_too() {
    for algorithm in Algorithm::ALL {
        for limits in ["3/s", "7/h", "3/s, 9/h"] {
            let (backend, _clock) = backend(10);
            let policy = policy(algorithm, limits);
            let key = KeyBuf::of("k");
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            assert!(backend.decide_now(&check).unwrap().unwrap().is_allowed());
            for cost in [check.capacity() + 1, u32::MAX] {
                let error = backend.decide_now(&check.with_cost(cost)).unwrap();
                let kind = error.map_err(|error| error.kind()).unwrap_err();
                assert_eq!(
                    kind,
                    ErrorKind::Unsatisfiable,
                    "{algorithm} {limits} {cost}"
                );
            }
        }
    }
}

#[test]
fn a_batch_whose_keys_are_in_the_way_of_each_other_ends() {
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        let policy = policy(Algorithm::Gcra, "1/h");
        let keys: Vec<_> = (0..40).map(|key: u32| KeyBuf::of(&key)).collect();
        let checks: Vec<_> = keys
            .iter()
            .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
            .collect();
        // In some of these, keys that are kept can be moved to and fro for ever.
        for _ in 0..200 {
            let (backend, _clock) = backend(46);
            for key in ["a", "b", "c", "d", "e", "f"] {
                assert!(admit(&backend, &policy, key));
            }
            for answer in now(backend.decide(&checks, Join::All)) {
                assert!(answer.unwrap().is_allowed());
            }
        }
        let _ = sender.send(());
    });
    done.recv_timeout(Duration::from_secs(20))
        .expect("no batch goes on for ever");
}
