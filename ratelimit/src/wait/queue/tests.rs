use core::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::task::Wake;

use ratelimit_core::{Charge, Outcome, Source};

use super::*;

/// So many seconds after some instant.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(Duration::from_secs(1_000 + seconds))
}

fn denial(now: u64, retry_at: u64) -> Known {
    let retry_after = at(retry_at).since(at(now));
    // What remains tells denials of different instants apart.
    let remaining = u32::try_from(now).unwrap();
    let quota = Quota::new(1, remaining, retry_after, retry_after);
    let decision = Decision::new(Outcome::Denied, Source::Store, &[quota], Charge::default());
    Known {
        decision,
        at: at(now),
    }
}

fn until(deadline: u64) -> Waiter {
    Waiter {
        deadline: at(deadline),
        cost: 1,
        comparable: true,
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Queues with one key, and who waits there.
struct Subject {
    queues: Queues,
    key: KeyBuf,
    flags: HashMap<u64, Arc<Flag>>,
}

impl Subject {
    fn new(max_waiters: usize) -> Self {
        Self {
            queues: Queues::new(max_waiters),
            key: KeyBuf::of("key"),
            flags: HashMap::new(),
        }
    }

    /// A queue of one, who was denied at 0 until 5.
    fn with_first(waiter: Waiter) -> (Self, u64) {
        let subject = Self::new(9);
        let first = subject
            .queues
            .enter(&subject.key, waiter, denial(0, 5), at(5));
        (subject, first.unwrap())
    }

    fn join(&self, waiter: Waiter, now: u64) -> u64 {
        self.queues
            .join(&self.key, waiter, at(now))
            .unwrap()
            .unwrap()
    }

    fn look(&mut self, id: u64, now: u64) -> Look {
        let flag = self.flags.entry(id).or_default();
        flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(flag));
        self.queues.look(&self.key, id, at(now), &waker)
    }

    fn woken(&self, id: u64) -> bool {
        self.flags[&id].0.load(Ordering::SeqCst)
    }

    fn denied(&self, id: u64, now: u64, retry_at: u64) -> bool {
        let denial = denial(now, retry_at);
        self.queues.denied(&self.key, id, denial, at(retry_at))
    }

    fn leave(&self, id: u64) {
        self.queues.leave(&self.key, id);
    }
}

#[track_caller]
fn assert_sleeps(look: &Look, expected: Timestamp) {
    assert!(
        matches!(look, Look::Sleep(until) if *until == expected),
        "{look:?}"
    );
}

#[track_caller]
fn retry_after_of(look: &Look) -> Duration {
    match look {
        Look::Leave(Out::Limited(decision)) => decision.retry_after(),
        look => panic!("{look:?}"),
    }
}

const TICK: Duration = Duration::from_nanos(1);

#[test]
fn the_first_asks_at_its_time_and_the_others_in_their_turn() {
    let (mut subject, first) = Subject::with_first(until(20));
    let second = subject.join(until(20), 1);
    assert_sleeps(&subject.look(first, 1), at(5));
    assert_sleeps(&subject.look(second, 1), at(20).plus(TICK));
    assert!(matches!(subject.look(first, 5), Look::Ask));
    assert_sleeps(&subject.look(second, 5), at(20).plus(TICK));
    subject.leave(first);
    assert!(subject.woken(second));
    assert!(matches!(subject.look(second, 5), Look::Ask));
    assert!(subject.denied(second, 5, 10));
    assert_sleeps(&subject.look(second, 6), at(10));
    subject.leave(second);
    assert_eq!((subject.queues.count(), subject.queues.waiting()), (0, 0));
    assert!(matches!(
        subject.queues.join(&subject.key, until(20), at(6)),
        Ok(None)
    ));
}

#[test]
fn a_first_one_that_is_late_asks_all_the_same_and_another_leaves() {
    let (mut subject, first) = Subject::with_first(until(5));
    let second = subject.join(until(6), 1);
    assert!(matches!(subject.look(first, 8), Look::Ask));
    assert_eq!(retry_after_of(&subject.look(second, 8)), Duration::ZERO);
    let third = subject.join(until(20), 8);
    subject.leave(second);
    subject.leave(first);
    // It comes first after its time is over.
    assert_eq!(retry_after_of(&subject.look(third, 21)), Duration::ZERO);
}

#[test]
fn who_leaves_from_the_middle_wakes_nobody() {
    let (mut subject, first) = Subject::with_first(until(20));
    let (second, third) = (subject.join(until(20), 1), subject.join(until(20), 1));
    for id in [first, second, third] {
        subject.look(id, 1);
    }
    subject.leave(second);
    assert!(!subject.woken(first) && !subject.woken(third));
    assert_eq!(subject.queues.waiting(), 2);
    subject.leave(first);
    assert!(subject.woken(third));
}

#[test]
fn nobody_waits_in_vain() {
    let (mut subject, first) = Subject::with_first(until(20));
    // The place comes too late for it, and it is told when there is one.
    let refused = subject.queues.join(&subject.key, until(4), at(2));
    assert_eq!(refused.unwrap_err().retry_after(), Duration::from_secs(3));
    let (second, third) = (subject.join(until(9), 2), subject.join(until(10), 2));
    subject.look(second, 2);
    subject.look(third, 2);
    assert!(matches!(subject.look(first, 5), Look::Ask));
    assert!(subject.denied(first, 5, 10));
    assert!(subject.woken(second) && !subject.woken(third));
    assert_eq!(
        retry_after_of(&subject.look(second, 5)),
        Duration::from_secs(5)
    );
    // A first one that is to be denied longer than it may wait.
    assert!(matches!(subject.look(first, 10), Look::Ask));
    assert!(!subject.denied(first, 10, 21));
}

#[test]
fn behind_one_that_leaves_only_who_costs_less_has_hope() {
    let dear = |waiter: Waiter, cost| Waiter { cost, ..waiter };
    let (mut subject, first) = Subject::with_first(dear(until(6), 2));
    let equal = subject.join(dear(until(6), 2), 1);
    let cheap = subject.join(until(6), 1);
    let patient = subject.join(dear(until(30), 9), 1);
    assert!(matches!(subject.look(first, 5), Look::Ask));
    assert!(!subject.denied(first, 5, 8));
    subject.leave(first);
    assert_eq!(
        retry_after_of(&subject.look(equal, 5)),
        Duration::from_secs(3)
    );
    subject.leave(equal);
    assert!(matches!(subject.look(cheap, 5), Look::Ask));
    subject.leave(cheap);
    assert!(matches!(subject.look(patient, 5), Look::Ask));
    // Where each call brings its limits, nothing is known of the others.
    let unknown = Waiter {
        comparable: false,
        ..until(6)
    };
    let (mut subject, first) = Subject::with_first(unknown);
    let second = subject.join(unknown, 1);
    assert!(matches!(subject.look(first, 5), Look::Ask));
    assert!(!subject.denied(first, 5, 8));
    subject.leave(first);
    assert!(matches!(subject.look(second, 5), Look::Ask));
}

#[test]
fn a_queue_is_bounded_and_others_are_not_in_its_way() {
    let subject = Subject::new(2);
    let enter = |key: &str, now| {
        let key = KeyBuf::of(key);
        let denial = denial(now, 5);
        subject.queues.enter(&key, until(20), denial, at(5))
    };
    assert!(enter("key", 0).is_some());
    assert!(enter("key", 1).is_some());
    assert!(enter("key", 2).is_none());
    let full = subject.queues.join(&subject.key, until(20), at(3));
    let known = full.unwrap_err();
    assert_eq!(known.retry_after(), Duration::from_secs(2));
    assert_eq!(
        known.remaining(),
        1,
        "the second one's denial is the latest"
    );
    assert!(enter("other", 3).is_some());
    assert_eq!((subject.queues.count(), subject.queues.waiting()), (2, 3));
    let none = Subject::new(0);
    assert!(
        none.queues
            .enter(&none.key, until(9), denial(0, 5), at(5))
            .is_none()
    );
    assert_eq!(none.queues.count(), 0);
}

#[test]
fn a_failure_is_everybodys() {
    let (mut subject, first) = Subject::with_first(until(20));
    let second = subject.join(until(20), 1);
    subject.look(second, 1);
    let error = Error::new(ErrorKind::Connection, "gone");
    subject.queues.failed(&subject.key, first, &error);
    assert!(subject.woken(second));
    subject.leave(first);
    let look = subject.look(second, 1);
    assert!(matches!(look, Look::Leave(Out::Failed(error)) if error.message() == "gone"));
}

#[test]
fn another_waker_takes_the_place_of_the_first() {
    let (mut subject, first) = Subject::with_first(until(20));
    let second = subject.join(until(20), 1);
    subject.look(second, 1);
    let old = subject.flags.remove(&second).unwrap();
    subject.look(second, 1);
    subject.leave(first);
    assert!(subject.woken(second) && !old.0.load(Ordering::SeqCst));
}
