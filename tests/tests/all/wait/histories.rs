//! Random histories of calls that wait, give up or do not wait, each against the queue in its most
//! obvious form, whose decisions are the reference model's.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};
use ratelimit::{Algorithm, Ask, Check, Clock, Join, KeyBuf, Limits, Policy, Rejection, Timestamp};
use ratelimit_tests::model::Model;

use super::harness::{Answer, Hand, SECOND, Subject, waiting};

/// What [`Subject`]'s registry lets wait at once.
const MOST: usize = 4;

/// Everything happens at whole seconds; costs stay below every capacity.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A call that waits so many seconds at most.
    Call {
        cost: u32,
        wait: u32,
    },
    /// One of the calls that wait is dropped.
    GiveUp(prop::sample::Index),
    Pass(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Waits,
    Admitted,
    Rejected,
    GaveUp,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    call: usize,
    cost: u32,
    deadline: Timestamp,
}

/// Those who wait, the first one first: it asks when the last denial said, and all others after it.
struct Plain<'a> {
    policy: &'a Policy,
    model: Model,
    queue: Vec<Waiter>,
    /// When the first asks; at once if it never has.
    asks_at: Option<Timestamp>,
    ends: Vec<End>,
}

impl Plain<'_> {
    /// `None` if it is admitted, else when it would be.
    fn ask(&mut self, cost: u32, now: Timestamp) -> Option<Timestamp> {
        let key = KeyBuf::of("k");
        let check = Check::new(self.policy, self.policy.limits(), key.as_ref()).with_cost(cost);
        let answer = self.model.decide(&[check], Join::Each, now).remove(0);
        let answer = answer.expect("costs are below the capacity");
        let retry_after = answer.quotas.iter().map(|quota| quota.retry_after).max();
        (!answer.is_allowed()).then(|| now.plus(retry_after.unwrap_or_default()))
    }

    fn call(&mut self, cost: u32, wait: u32, now: Timestamp) {
        let waiter = Waiter {
            call: self.ends.len(),
            cost,
            deadline: now.plus(wait * SECOND),
        };
        // Who does not wait does not queue, either.
        let end = if wait == 0 || self.queue.is_empty() {
            match self.ask(cost, now) {
                None => End::Admitted,
                Some(at) if wait > 0 && at <= waiter.deadline => {
                    self.asks_at = Some(at);
                    End::Waits
                }
                Some(_) => End::Rejected,
            }
        } else if self.queue.len() < MOST && self.asks_at.is_none_or(|at| at <= waiter.deadline) {
            End::Waits
        } else {
            End::Rejected
        };
        if end == End::Waits {
            self.queue.push(waiter);
        }
        self.ends.push(end);
    }

    fn give_up(&mut self, call: usize, now: Timestamp) {
        self.ends[call] = End::GaveUp;
        if self.queue[0].call == call {
            self.asks_at = None;
        }
        self.queue.retain(|waiter| waiter.call != call);
        self.settle(now);
    }

    fn first_ends(&mut self, end: End) {
        let first = self.queue.remove(0);
        self.ends[first.call] = end;
        self.asks_at = None;
    }

    fn reject(&mut self, in_vain: impl Fn(&Waiter) -> bool) {
        let behind = self.queue.split_off(1);
        for waiter in behind {
            if in_vain(&waiter) {
                self.ends[waiter.call] = End::Rejected;
            } else {
                self.queue.push(waiter);
            }
        }
    }

    /// Lets everybody do what there is to do at that instant.
    fn settle(&mut self, now: Timestamp) {
        while let Some(first) = self.queue.first().copied() {
            if self.asks_at.is_some_and(|at| at > now) {
                break;
            }
            if self.asks_at.is_none() && now > first.deadline {
                self.first_ends(End::Rejected);
                continue;
            }
            let Some(retry_at) = self.ask(first.cost, now) else {
                self.first_ends(End::Admitted);
                continue;
            };
            let stays = retry_at <= first.deadline;
            // What costs as much cannot be admitted earlier.
            self.reject(|other| other.deadline < retry_at && (stays || other.cost >= first.cost));
            if stays {
                self.asks_at = Some(retry_at);
            } else {
                self.first_ends(End::Rejected);
            }
        }
        if !self.queue.is_empty() {
            self.reject(|other| other.deadline < now);
        }
    }
}

fn end(answer: &Answer) -> End {
    match answer {
        Ok(_) => End::Admitted,
        Err(Rejection::Limited(_)) => End::Rejected,
        Err(rejection) => panic!("{rejection:?}"),
    }
}

/// The calls that wait, or what became of them.
struct Calls<'a> {
    hands: Vec<Option<Hand<'a, Answer>>>,
    ends: Vec<End>,
}

impl Calls<'_> {
    /// Polls whoever was woken, until nobody is; from the last to the first, or the other way.
    fn settle(&mut self, backwards: bool) {
        let mut order: Vec<_> = (0..self.hands.len()).collect();
        if backwards {
            order.reverse();
        }
        while order.iter().any(|call| self.poll(*call)) {}
    }

    /// Whether there was anything to do.
    fn poll(&mut self, call: usize) -> bool {
        let Some(hand) = self.hands[call].as_mut().filter(|hand| hand.woken()) else {
            return false;
        };
        if let Some(answer) = hand.run() {
            self.ends[call] = end(&answer);
            self.hands[call] = None;
        }
        true
    }
}

fn config() -> Config {
    Config {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..Config::default()
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let call = (1..3_u32, prop_oneof![1 => Just(0), 4 => 1..25_u32]);
    let call = call.prop_map(|(cost, wait)| Event::Call { cost, wait });
    let give_up = any::<prop::sample::Index>().prop_map(Event::GiveUp);
    let pass = (1..6_u32).prop_map(Event::Pass);
    prop::collection::vec(prop_oneof![4 => call, 1 => give_up, 2 => pass], 1..40)
}

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::TokenBucket,
    Algorithm::Gcra,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::SlidingWindowCounter,
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn everybody_is_admitted_or_rejected_as_a_plain_queue_says(
        algorithm in select(&ALGORITHMS[..]),
        limits in select(&["2/10s", "3/7s", "5/20s", "2/3s, 4/10s"][..]),
        backwards: bool,
        events in events(),
    ) {
        let limits: Limits = limits.parse().unwrap();
        let policy = Policy::named("queued".into(), algorithm, limits);
        let subject = Subject::new();
        let now = || subject.clock.now();
        let mut plain = Plain {
            policy: &policy,
            model: Model::new(1),
            queue: Vec::new(),
            asks_at: None,
            ends: Vec::new(),
        };
        let asks: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Call { cost, wait } => {
                    Some(Ask::new(&policy, "k").cost(*cost).wait(*wait * SECOND))
                }
                _ => None,
            })
            .collect();
        let mut calls = Calls { hands: Vec::new(), ends: Vec::new() };
        // In the end, whoever waits is admitted or has waited long enough.
        let events = events.iter().zip(&asks).map(|(event, ask)| (*event, ask.as_ref()));
        for (event, ask) in events.chain([(Event::Pass(120), None)]) {
            match event {
                Event::Call { cost, wait } => {
                    plain.call(cost, wait, now());
                    calls.hands.push(ask.map(|ask| waiting(&subject.registry, ask)));
                    calls.ends.push(End::Waits);
                    calls.settle(backwards);
                }
                Event::GiveUp(which) if !plain.queue.is_empty() => {
                    let call = plain.queue[which.index(plain.queue.len())].call;
                    calls.hands[call] = None;
                    calls.ends[call] = End::GaveUp;
                    plain.give_up(call, now());
                    calls.settle(backwards);
                }
                Event::GiveUp(_) => {}
                Event::Pass(seconds) => {
                    for _ in 0..seconds {
                        subject.clock.advance(SECOND);
                        calls.settle(backwards);
                        plain.settle(now());
                        prop_assert_eq!(&calls.ends, &plain.ends, "after {:?}", event);
                    }
                }
            }
            prop_assert_eq!(&calls.ends, &plain.ends, "after {:?}", event);
            prop_assert_eq!(subject.registry.waiters(), plain.queue.len());
        }
        subject.assert_empty();
    }
}
