//! The smoothing queue of the leaky bucket.

use ratelimit::{Algorithm, AlgorithmSet, Ask, Policy, rate};

use super::harness::{Hand, SECOND, Subject, TICK, just_before, limited, waiting};

/// One a second, and four in the bucket.
static DRIP: Policy = Policy::new("drip", Algorithm::LeakyBucket, rate!("4/4s"));

#[test]
fn calls_come_out_evenly_spaced() {
    for polls in [0, 2] {
        let subject = Subject::with(|backend| {
            if polls > 0 {
                backend.slow(polls)
            } else {
                backend
            }
        });
        let ask = Ask::unkeyed(&DRIP).wait(10 * SECOND);
        let mut calls: Vec<_> = (0..4).map(|_| waiting(&subject.registry, &ask)).collect();
        assert!(calls[0].run().unwrap().unwrap().delay().is_zero());
        for call in &mut calls[1..] {
            assert!(call.run().is_none());
        }
        // The bucket is full.
        assert_eq!(
            limited(waiting(&subject.registry, &ask).run().unwrap()),
            SECOND
        );
        let asked = subject.backend.asked();
        for place in 1..4 {
            subject.clock.advance(just_before(SECOND));
            assert!(!calls.iter().any(Hand::woken));
            subject.clock.advance(TICK);
            let delay = calls[place].run().unwrap().unwrap().delay();
            assert_eq!(delay.as_secs(), place as u64);
        }
        assert_eq!(subject.backend.asked(), asked, "each asks once");
        subject.assert_empty();
    }
}

#[test]
fn a_wait_bounds_the_delay() {
    let subject = Subject::new();
    let registry = &subject.registry;
    let short = Ask::unkeyed(&DRIP).wait(SECOND);
    assert!(waiting(registry, &short).ready().is_ok());
    let mut second = waiting(registry, &short);
    second.pending();
    assert_eq!(limited(waiting(registry, &short).ready()), SECOND);
    // Without a wait it is a meter, which lets a burst through.
    assert!(registry.ask_blocking(&Ask::unkeyed(&DRIP)).is_ok());
    let peek = registry.peek_blocking(&short).unwrap();
    assert!(
        !peek.is_allowed(),
        "it says what the question would be answered"
    );
    subject.clock.advance(SECOND);
    assert!(second.ready().is_ok());
    subject.assert_empty();
}

#[test]
fn who_gives_up_gives_its_place_back_if_it_is_the_last() {
    for polls in [0, 2] {
        let subject = Subject::with(|backend| {
            if polls > 0 {
                backend.slow(polls)
            } else {
                backend
            }
        });
        let registry = &subject.registry;
        let ask = Ask::new(&DRIP, "k").wait(10 * SECOND);
        assert!(waiting(registry, &ask).run().unwrap().is_ok());
        let mut calls: Vec<_> = (0..3).map(|_| waiting(registry, &ask)).collect();
        for call in &mut calls {
            assert!(call.run().is_none());
        }
        assert_eq!(subject.remaining(&DRIP, "k"), 0);
        drop(calls.remove(1));
        // Those behind it know already when they leave.
        assert_eq!(subject.remaining(&DRIP, "k"), 0);
        drop(calls.remove(1));
        super::harness::eventually(|| subject.remaining(&DRIP, "k") == 1);
        assert_eq!(subject.clock.sleepers(), 1);
        subject.clock.advance(SECOND);
        assert!(calls[0].run().unwrap().is_ok());
        subject.assert_empty();
    }
}

#[test]
fn what_cannot_be_given_back_is_let_be() {
    let subject = Subject::with(|backend| backend.with(|can| can.with_refund(AlgorithmSet::EMPTY)));
    let ask = Ask::new(&DRIP, "k").wait(10 * SECOND);
    assert!(waiting(&subject.registry, &ask).ready().is_ok());
    let mut second = waiting(&subject.registry, &ask);
    second.pending();
    drop(second);
    assert_eq!(subject.remaining(&DRIP, "k"), 2);
    subject.assert_empty();
}

#[test]
fn a_backend_that_cannot_delay_is_not_asked_to() {
    let subject = Subject::with(|backend| backend.with(|can| can.with_delay(AlgorithmSet::EMPTY)));
    let ask = Ask::unkeyed(&DRIP);
    assert!(waiting(&subject.registry, &ask).ready().is_ok());
    let waits = ask.wait(SECOND);
    let message = waiting(&subject.registry, &waits).ready().unwrap_err();
    let message = message.to_string();
    assert!(
        message
            .contains("backend `counting`: unsupported: it cannot give a call of a `leaky_bucket`"),
        "{message}"
    );
    assert_eq!(subject.backend.asked(), 1);
}
