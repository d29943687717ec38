//! Futures that are dropped while they wait, at every point at which they can be.

use ratelimit::{Algorithm, Ask, Policy, rate};

use super::harness::{Answer, Hand, SECOND, Subject, TWO, eventually, waiting};

/// Polls a call at most so often, with a clock that goes on when there is nothing else to do. The
/// answer, if it got there.
fn poll_at_most(subject: &Subject, call: &mut Hand<'_, Answer>, polls: usize) -> Option<Answer> {
    for _ in 0..polls {
        if !call.woken() {
            subject.clock.advance(10 * SECOND);
        }
        assert!(call.woken(), "what sleeps is woken by the clock");
        if let std::task::Poll::Ready(answer) = call.poll() {
            return Some(answer);
        }
    }
    None
}

/// One gives up after so many polls; the other must not notice. Whether the first got there.
fn gives_up_after(polls: usize, slowness: usize) -> bool {
    let subject = Subject::with(|backend| {
        if slowness > 0 {
            backend.slow(slowness)
        } else {
            backend
        }
    });
    subject.fill("k");
    let ask = Ask::new(&TWO, "k").wait(60 * SECOND);
    let mut first = waiting(&subject.registry, &ask);
    let mut second = waiting(&subject.registry, &ask);
    // The second one comes when the first is in the queue.
    let answer = poll_at_most(&subject, &mut first, polls.min(2 * slowness + 1));
    assert!(answer.is_none());
    assert!(second.run().is_none());
    let rest = polls.saturating_sub(2 * slowness + 1);
    let answer = poll_at_most(&subject, &mut first, rest);
    let got_there = answer.is_some();
    if let Some(answer) = answer {
        answer.unwrap();
    }
    drop(first);
    let admitted = loop {
        if let Some(answer) = second.run() {
            break answer;
        }
        subject.clock.advance(10 * SECOND);
        assert!(second.woken(), "{polls} polls: it is never woken");
    };
    assert!(admitted.is_ok(), "{polls} polls");
    drop(second);
    subject.assert_empty();
    // Both would fit into the window in which they are admitted; what is charged was used.
    let used = if got_there { 2 } else { 1 };
    eventually(|| subject.remaining(&TWO, "k") == 2 - used);
    got_there
}

#[test]
fn a_call_in_the_queue_leaves_nothing_behind() {
    for slowness in [0, 1, 2] {
        let mut polls = 0;
        while !gives_up_after(polls, slowness) {
            polls += 1;
            assert!(polls < 100);
        }
        // One poll to wait and one to be admitted, each with the pauses of the backend.
        assert_eq!(polls, 2 * (2 * slowness + 1));
    }
}

#[test]
fn a_place_in_the_leaky_bucket_is_given_back() {
    static DRIP: Policy = Policy::new("given back", Algorithm::LeakyBucket, rate!("4/40s"));
    for slowness in [0, 1, 2] {
        let mut polls = 0;
        loop {
            let subject = Subject::with(|backend| {
                if slowness > 0 {
                    backend.slow(slowness)
                } else {
                    backend
                }
            });
            let ask = Ask::new(&DRIP, "k").wait(60 * SECOND);
            assert!(waiting(&subject.registry, &ask).run().unwrap().is_ok());
            let mut call = waiting(&subject.registry, &ask);
            let answer = poll_at_most(&subject, &mut call, polls);
            drop(call);
            if answer.is_some() {
                break;
            }
            eventually(|| subject.remaining(&DRIP, "k") == 3);
            subject.assert_empty();
            polls += 1;
            assert!(polls < 100);
        }
        assert_eq!(polls, 2 * slowness + 2);
    }
}

#[test]
fn when_the_first_is_dropped_the_next_is_woken() {
    let subject = Subject::new();
    subject.fill("k");
    let ask = Ask::new(&TWO, "k").wait(20 * SECOND);
    let mut calls: Vec<_> = (0..3).map(|_| waiting(&subject.registry, &ask)).collect();
    calls.iter_mut().for_each(Hand::pending);
    subject.clock.advance(SECOND);
    drop(calls.remove(0));
    assert!(calls[0].woken() && !calls[1].woken());
    // It has never asked, and finds out for itself.
    calls[0].pending();
    assert_eq!(subject.backend.asked(), 4);
    // Woken and dropped before it acts: the wakeup is handed on.
    subject.clock.advance(9 * SECOND);
    assert!(calls[0].woken());
    drop(calls.remove(0));
    assert!(calls[0].woken());
    assert!(calls[0].ready().is_ok());
    subject.assert_empty();
}

#[test]
fn a_question_that_was_never_asked_is_not_asked_for_somebody_who_is_gone() {
    let subject = Subject::with(|backend| backend.slow(1));
    let ask = Ask::new(&TWO, "k").wait(20 * SECOND);
    drop(waiting(&subject.registry, &ask));
    assert_eq!(subject.backend.asked(), 0);
}
