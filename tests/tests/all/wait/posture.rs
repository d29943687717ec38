//! What happens to those who wait when the backend fails, and in other modes.

use std::sync::Arc;
use std::time::Duration;

use ratelimit::{
    Algorithm, Ask, ClockKind, Mode, OnError, Policy, Registry, Rejection, Source, rate,
};

use super::harness::{
    Answer, Counting, Hand, SECOND, Subject, TICK, TWO, just_before, limited, waiting,
};
use crate::backends::{Fault, Faulty};

/// Two wait, then the backend is closed.
fn closed_while_waiting(on_error: OnError, check: impl Fn(Answer)) {
    let subject = Subject::new();
    let policy = TWO.clone().with_on_error(on_error);
    subject.fill("k");
    let ask = Ask::new(&policy, "k").wait(60 * SECOND);
    let mut calls: Vec<_> = (0..2).map(|_| waiting(&subject.registry, &ask)).collect();
    calls.iter_mut().for_each(Hand::pending);
    let backend = subject.registry.backend("counting").unwrap();
    assert!(Hand::new(backend.close()).poll().is_ready());
    subject.clock.advance(10 * SECOND);
    check(calls[0].ready());
    assert!(calls[1].woken(), "it waits for the same backend");
    check(calls[1].ready());
    assert_eq!(subject.backend.asked(), 4, "and need not ask it");
    subject.assert_empty();
}

#[test]
fn a_failing_backend_ends_the_wait_by_the_posture() {
    closed_while_waiting(OnError::Closed, |answer| {
        assert!(matches!(answer, Err(Rejection::Unavailable(_))));
    });
    closed_while_waiting(OnError::Open, |answer| {
        assert_eq!(answer.unwrap().source(), Source::Open);
    });
    closed_while_waiting(OnError::Local, |answer| {
        assert_eq!(answer.unwrap().source(), Source::Local);
    });
}

#[test]
fn a_backend_that_fails_at_once_is_not_waited_for() {
    for fault in [Fault::Fails, Fault::Mumbles, Fault::Incapable] {
        let backend = Faulty::new(fault);
        let builder = Registry::builder().backend("faulty", backend.clone());
        let registry = builder.build().unwrap();
        let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
        assert!(matches!(
            waiting(&registry, &ask).ready(),
            Err(Rejection::Unavailable(_))
        ));
        assert!(registry.ask_blocking(&ask).is_err());
        assert_eq!((backend.asked(), registry.waiters()), (2, 0));
    }
}

#[test]
fn a_backend_that_panics_takes_nobody_with_it() {
    let registry = Registry::builder()
        .backend("faulty", Faulty::new(Fault::Panics))
        .build()
        .unwrap();
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        waiting(&registry, &ask).ready().is_ok()
    }));
    assert!(panicked.is_err());
    assert!(registry.ask_blocking(&ask).is_err());
    assert_eq!(registry.waiters(), 0);
}

#[test]
fn a_local_decision_delays_as_well() {
    static DRIP: Policy = Policy::new("local drip", Algorithm::LeakyBucket, rate!("4/4s"));
    let subject = Subject::new();
    let backend = subject.registry.backend("counting").unwrap();
    assert!(Hand::new(backend.close()).poll().is_ready());
    let policy = DRIP.clone().with_on_error(OnError::Local);
    let ask = Ask::unkeyed(&policy).wait(10 * SECOND);
    let registry = &subject.registry;
    assert!(waiting(registry, &ask).ready().is_ok());
    let mut second = waiting(registry, &ask);
    second.pending();
    let mut third = waiting(registry, &ask);
    third.pending();
    drop(third);
    let mut fourth = waiting(registry, &ask);
    fourth.pending();
    subject.clock.advance(SECOND);
    assert_eq!(second.ready().unwrap().source(), Source::Local);
    subject.clock.advance(SECOND);
    assert!(
        fourth.ready().is_ok(),
        "the third one's place was given back"
    );
    subject.assert_empty();
}

#[test]
fn only_enforced_policies_wait() {
    let subject = Subject::new();
    subject.fill("k");
    for (mode, allowed) in [(Mode::Shadow, false), (Mode::Off, true)] {
        let policy = TWO.clone().with_mode(mode);
        let ask = Ask::new(&policy, "k").wait(60 * SECOND);
        let decision = waiting(&subject.registry, &ask).ready().unwrap();
        assert_eq!(decision.is_allowed(), allowed);
        assert!(subject.registry.ask_blocking(&ask).is_ok());
    }
    assert_eq!(subject.backend.asked(), 4);
    let enforced = Ask::new(&TWO, "k");
    assert_eq!(
        limited(waiting(&subject.registry, &enforced).ready()),
        10 * SECOND
    );
    subject.assert_empty();
}

/// The clock is moved while the answer is under way.
#[test]
fn a_backend_with_the_same_clock_is_believed_from_its_decision_on() {
    for (kind, seconds) in [(ClockKind::Injected, 10), (ClockKind::Server, 14)] {
        let subject =
            Subject::with(|backend| backend.slow(1).with(|can| can.with_clock(kind, TICK)));
        subject.fill("k");
        let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
        let mut call = waiting(&subject.registry, &ask);
        call.pending();
        call.pending();
        // It has decided, and has not said so.
        subject.clock.advance(4 * SECOND);
        call.pending();
        subject.clock.advance(just_before((seconds - 4) * SECOND));
        assert!(!call.woken(), "{kind:?}");
        subject.clock.advance(TICK);
        assert!(call.woken(), "{kind:?}");
        assert!(call.run().unwrap().is_ok());
    }
}

#[test]
fn a_backend_that_does_not_say_when_to_come_back_is_not_asked_without_end() {
    let subject = Subject::with(Counting::mute);
    subject.fill("k");
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let mut call = waiting(&subject.registry, &ask);
    for asked in 3..10 {
        call.pending();
        assert_eq!(subject.backend.asked(), asked);
        subject.clock.advance(Duration::from_millis(1));
        assert!(call.woken());
    }
    subject.clock.advance(10 * SECOND);
    assert!(call.ready().is_ok());
}

#[test]
fn a_clock_that_steps_back_wakes_again() {
    let subject = Subject::new();
    subject.fill("k");
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let mut call = waiting(&subject.registry, &ask);
    call.pending();
    subject.clock.advance(10 * SECOND);
    subject.clock.step_back(SECOND);
    assert!(call.poll_again().is_pending());
    assert_eq!(subject.backend.asked(), 3);
    subject.clock.advance(SECOND);
    assert!(call.woken());
    assert!(call.ready().is_ok());
}

/// The thread that serves callers that block must not be parked itself. A caller's own thread may be, as it is
/// anyway.
#[test]
fn a_backend_that_waits_like_a_blocking_caller_is_told_so() {
    let inner = Arc::new(Registry::builder().build().unwrap());
    let (says, said) = std::sync::mpsc::channel();
    let subject = Subject::with(|backend| {
        backend.slow(1).aside(move || {
            let ask = || inner.ask_blocking(&Ask::unkeyed(&TWO).wait(SECOND));
            says.send(ask()).unwrap();
            let (inner, says) = (Arc::clone(&inner), says.clone());
            tokio::spawn(async move {
                let ask = Ask::unkeyed(&TWO).wait(SECOND);
                says.send(inner.ask_blocking(&ask))
            });
        })
    });
    let ask = Ask::unkeyed(&TWO);
    assert!(subject.registry.ask_blocking(&ask).is_ok());
    assert!(said.recv().unwrap().is_ok());
    let refused = said.recv().unwrap().unwrap_err().to_string();
    assert!(
        refused.contains("may not be such a caller itself"),
        "{refused}"
    );
}
