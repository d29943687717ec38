//! The fair queue of a policy and key, polled by hand.

use std::time::Duration;

use ratelimit::{Algorithm, Ask, Limits, Policy, Registry, Rejection, rate};

use super::harness::{Hand, SECOND, Subject, TICK, TWO, just_before, limited, waiting};

#[test]
fn the_first_asks_again_exactly_when_there_is_a_place() {
    let subject = Subject::new();
    subject.fill("k");
    subject.clock.advance(3 * SECOND);
    let ask = Ask::new(&TWO, "k").wait(8 * SECOND);
    let mut call = waiting(&subject.registry, &ask);
    call.pending();
    assert_eq!(
        (subject.backend.asked(), subject.registry.waiters()),
        (3, 1)
    );
    // It is polled for no reason, and does not ask.
    call.pending();
    subject.clock.advance(just_before(7 * SECOND));
    assert!(!call.woken());
    call.pending();
    assert_eq!((subject.backend.asked(), subject.clock.sleepers()), (3, 1));
    subject.clock.advance(TICK);
    assert!(call.woken());
    assert_eq!(call.ready().unwrap().remaining(), 1);
    assert_eq!(subject.backend.asked(), 4);
    subject.assert_empty();
}

#[test]
fn a_call_that_would_wait_too_long_is_rejected_at_once_and_not_charged() {
    let subject = Subject::new();
    subject.fill("k");
    let short = Ask::new(&TWO, "k").wait(just_before(10 * SECOND));
    assert_eq!(
        limited(waiting(&subject.registry, &short).ready()),
        10 * SECOND
    );
    // It can just wait until then.
    let exact = Ask::new(&TWO, "k").wait(10 * SECOND);
    let mut first = waiting(&subject.registry, &exact);
    first.pending();
    let asked = subject.backend.asked();
    // Behind it, nobody need be asked to know.
    subject.clock.advance(SECOND);
    let late = Ask::new(&TWO, "k").wait(just_before(9 * SECOND));
    assert_eq!(
        limited(waiting(&subject.registry, &late).ready()),
        9 * SECOND
    );
    assert_eq!(subject.backend.asked(), asked);
    subject.clock.advance(9 * SECOND);
    assert!(first.ready().is_ok());
    assert_eq!(subject.remaining(&TWO, "k"), 1);
    subject.assert_empty();
}

#[test]
fn calls_are_admitted_in_their_order_and_nobody_overtakes() {
    let subject = Subject::new();
    subject.fill("k");
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let mut calls: Vec<_> = (0..4).map(|_| waiting(&subject.registry, &ask)).collect();
    calls.iter_mut().for_each(Hand::pending);
    let asked = subject.backend.asked();
    assert_eq!(asked, 3, "only the first has asked");
    subject.clock.advance(10 * SECOND);
    // A new one comes before any of them was polled, and finds the queue full.
    assert_eq!(
        limited(waiting(&subject.registry, &ask).ready()),
        Duration::ZERO
    );
    // So does one that does not wait: there are places, but it may overtake.
    let woken: Vec<_> = calls.iter().map(Hand::woken).collect();
    assert_eq!(woken, [true, false, false, false]);
    assert!(calls[0].ready().is_ok());
    let woken: Vec<_> = calls.iter().map(Hand::woken).collect();
    assert_eq!(&woken[1..], [true, false, false]);
    // Out of turn, it stays where it is.
    calls[2].pending();
    assert!(calls[1].ready().is_ok());
    calls[2].pending();
    assert_eq!(subject.backend.asked(), asked + 3);
    // A newcomer goes to the end, also of those that need no place in this window.
    let mut newcomer = waiting(&subject.registry, &ask);
    newcomer.pending();
    calls[3].pending();
    assert_eq!(subject.backend.asked(), asked + 3);
    subject.clock.advance(10 * SECOND);
    assert!(calls[2].ready().is_ok());
    assert!(!newcomer.woken());
    assert!(calls[3].ready().is_ok());
    newcomer.pending();
    subject.clock.advance(10 * SECOND);
    assert!(newcomer.ready().is_ok());
    subject.assert_empty();
}

#[test]
fn a_dear_call_is_not_starved_by_cheap_ones() {
    static POLICY: Policy = Policy::new("dear", Algorithm::TokenBucket, rate!("4/4s"));
    let subject = Subject::new();
    let registry = &subject.registry;
    let ask = Ask::unkeyed(&POLICY).wait(60 * SECOND);
    let (dear, cheap) = (ask.clone().cost(4), ask);
    assert!(waiting(registry, &dear).ready().is_ok());
    let mut first = waiting(registry, &dear);
    first.pending();
    let mut second = waiting(registry, &cheap);
    second.pending();
    subject.clock.advance(3 * SECOND);
    second.pending();
    subject.clock.advance(SECOND);
    assert_eq!(first.ready().unwrap().remaining(), 0);
    second.pending();
    subject.clock.advance(SECOND);
    assert!(second.ready().is_ok());
    subject.assert_empty();
}

#[test]
fn a_call_whose_deadline_passes_leaves_with_what_is_known() {
    let subject = Subject::new();
    subject.fill("k");
    let (patient, hasty) = (
        Ask::new(&TWO, "k").wait(60 * SECOND),
        Ask::new(&TWO, "k").wait(15 * SECOND),
    );
    let mut calls: Vec<_> = [&patient, &patient, &patient, &hasty]
        .map(|ask| waiting(&subject.registry, ask))
        .into();
    calls.iter_mut().for_each(Hand::pending);
    subject.clock.advance(10 * SECOND);
    assert!(calls[0].ready().is_ok());
    assert!(calls[1].ready().is_ok());
    // The next place is at 20, which is too late for the last one: it need not wait for its own
    // deadline.
    calls[2].pending();
    assert!(calls[3].woken());
    assert_eq!(limited(calls[3].ready()), 10 * SECOND);
    assert_eq!(subject.registry.waiters(), 1);
    drop(calls);
    subject.assert_empty();
    // Where the first does not act, each leaves after its own deadline.
    let mut first = waiting(&subject.registry, &patient);
    first.pending();
    let mut second = waiting(&subject.registry, &hasty);
    second.pending();
    subject.clock.advance(15 * SECOND);
    second.pending();
    subject.clock.advance(TICK);
    assert!(second.woken());
    assert_eq!(limited(second.ready()), Duration::ZERO);
    assert!(first.ready().is_ok(), "late, but it had its place");
    subject.assert_empty();
}

#[test]
fn every_key_and_policy_has_its_own_queue_of_bounded_length() {
    static OTHER: Policy = Policy::new("other", Algorithm::FixedWindow, rate!("1/10s"));
    let subject = Subject::new();
    let registry = &subject.registry;
    for key in ["a", "b"] {
        subject.fill(key);
    }
    registry.check_blocking(&OTHER, "a").unwrap();
    let asks = [
        Ask::new(&TWO, "a").wait(20 * SECOND),
        Ask::new(&TWO, "b").wait(20 * SECOND),
        Ask::new(&OTHER, "a").wait(20 * SECOND),
    ];
    let mut calls: Vec<_> = asks.iter().map(|ask| waiting(registry, ask)).collect();
    calls.extend((0..3).map(|_| waiting(registry, &asks[0])));
    calls.iter_mut().for_each(Hand::pending);
    subject.clock.advance(4 * SECOND);
    assert_eq!(limited(waiting(registry, &asks[0]).ready()), 6 * SECOND);
    waiting(registry, &asks[1]).pending();
    assert_eq!(registry.waiters(), 6);
    subject.clock.advance(6 * SECOND);
    let admitted = calls.iter_mut().filter_map(Hand::run).count();
    assert_eq!(admitted, 4);
    assert!(calls[5].poll().is_pending());
    drop(calls);
    subject.assert_empty();
}

/// Two a window are admitted, whatever the number of those that wait.
#[test]
fn over_time_exactly_the_limit_is_admitted() {
    for polls in [0, 2] {
        let subject = Subject::with(|backend| {
            if polls > 0 {
                backend.slow(polls)
            } else {
                backend
            }
        });
        let ask = Ask::new(&TWO, "k").wait(25 * SECOND);
        let mut calls: Vec<_> = (0..30)
            .map(|_| Some(waiting(&subject.registry, &ask)))
            .collect();
        let mut admitted = Vec::new();
        for _ in 0..60 {
            let mut now = (0, 0);
            loop {
                let mut acted = false;
                for call in &mut calls {
                    let Some(hand) = call else { continue };
                    acted |= hand.woken();
                    if let Some(answer) = hand.run() {
                        *call = None;
                        match answer {
                            Ok(_) => now.0 += 1,
                            Err(_) => now.1 += 1,
                        }
                    }
                }
                if !acted {
                    break;
                }
            }
            admitted.push(now);
            subject.clock.advance(SECOND);
        }
        let at = |second: usize| admitted[second].0;
        assert_eq!([at(0), at(10), at(20)], [2, 2, 2], "{polls}: {admitted:?}");
        let all = admitted
            .iter()
            .fold((0, 0), |all, now| (all.0 + now.0, all.1 + now.1));
        assert_eq!(all, (6, 24));
        subject.assert_empty();
    }
}

#[test]
fn every_algorithm_lets_those_that_wait_in_at_its_own_time() {
    for (algorithm, second) in [
        (Algorithm::TokenBucket, 5),
        (Algorithm::Gcra, 5),
        (Algorithm::FixedWindow, 10),
        (Algorithm::SlidingWindow, 10),
        (Algorithm::SlidingWindowCounter, 15),
    ] {
        let subject = Subject::new();
        let policy = Policy::new("each", algorithm, rate!("2/10s"));
        let ask = Ask::unkeyed(&policy).wait(60 * SECOND);
        assert!(waiting(&subject.registry, &ask).ready().is_ok());
        assert!(waiting(&subject.registry, &ask).ready().is_ok());
        let mut call = waiting(&subject.registry, &ask);
        call.pending();
        subject.clock.advance(just_before(second * SECOND));
        assert!(!call.woken(), "{algorithm}");
        subject.clock.advance(TICK);
        assert!(call.woken(), "{algorithm}");
        assert!(call.ready().is_ok(), "{algorithm}");
    }
}

#[test]
fn several_rates_and_limits_of_a_call_are_waited_for() {
    let subject = Subject::new();
    let limits: Limits = "1/s, 2/m".parse().unwrap();
    let policy = Policy::new("dynamic", Algorithm::FixedWindow, rate!("9/s"));
    let ask = Ask::unkeyed(&policy).limits(limits).wait(61 * SECOND);
    assert!(waiting(&subject.registry, &ask).ready().is_ok());
    let mut second = waiting(&subject.registry, &ask);
    second.pending();
    subject.clock.advance(SECOND);
    assert!(second.ready().is_ok());
    let mut third = waiting(&subject.registry, &ask);
    third.pending();
    subject.clock.advance(58 * SECOND);
    assert!(!third.woken());
    subject.clock.advance(SECOND);
    assert!(third.ready().is_ok());
    subject.assert_empty();
}

#[test]
fn what_can_never_be_is_not_waited_for() {
    let subject = Subject::new();
    let registry = &subject.registry;
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let dear = ask.clone().cost(3);
    let answer = waiting(registry, &dear).ready();
    assert!(matches!(
        answer,
        Err(Rejection::Unsatisfiable { cost: 3, .. })
    ));
    subject.fill("k");
    let free = ask.clone().cost(0);
    assert!(waiting(registry, &free).ready().is_ok());
    let never = ask.wait(Duration::from_mins(61));
    let answer = waiting(registry, &never).ready();
    let message = answer.unwrap_err().to_string();
    assert!(
        message.ends_with("a wait of 3660s is too long: at most one hour"),
        "{message}"
    );
    subject.assert_empty();
}

#[test]
fn a_batch_does_not_wait() {
    let subject = Subject::new();
    let asks = [Ask::new(&TWO, "k"), Ask::new(&TWO, "k").wait(SECOND)];
    let many = subject.registry.check_many_blocking(&asks);
    assert!(many[0].is_ok());
    let message = many[1].as_ref().unwrap_err().to_string();
    assert!(
        message.contains("a question of a batch cannot wait"),
        "{message}"
    );
    assert!(subject.registry.check_all_blocking(&asks).is_err());
    assert_eq!(subject.remaining(&TWO, "k"), 1);
    let without = [Ask::new(&TWO, "k").wait(Duration::ZERO)];
    assert!(subject.registry.check_all_blocking(&without).is_ok());
}

#[test]
fn no_room_means_no_waiting() {
    let registry = Registry::builder().max_waiters(0).build().unwrap();
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let answers: Vec<_> = (0..3)
        .map(|_| registry.ask_blocking(&ask).is_ok())
        .collect();
    assert_eq!(answers, [true, true, false]);
}
