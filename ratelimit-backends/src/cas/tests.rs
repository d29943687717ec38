//! Processes whose clocks are apart.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ratelimit_core::{
    Algorithm, AlgorithmSet, Capabilities, Check, Clock, Decision, Error, Join, KeyBuf,
    ManualClock, Policy, Timestamp,
};

use super::ask::{Client, question};
use super::{CasStore, Loaded, Swap};
use crate::batcher::Ask;
use crate::stepwise::Owned;

/// A store that forgets when its time is over.
#[derive(Debug)]
struct Shelf {
    items: Mutex<HashMap<String, (Vec<u8>, Timestamp)>>,
    clock: ManualClock,
}

impl CasStore for Shelf {
    type Version = Vec<u8>;

    async fn load(&self, key: &str) -> Result<Option<Loaded<Vec<u8>>>, Error> {
        let now = self.clock.now();
        let mut items = self.items.lock().unwrap();
        items.retain(|_, (_, until)| *until > now);
        let loaded = items.get(key);
        Ok(loaded.map(|(state, _)| Loaded::new(state.clone(), state.clone())))
    }

    async fn swap(&self, swap: &Swap<'_, Vec<u8>>) -> Result<bool, Error> {
        let until = self.clock.now().plus(swap.keep);
        let mut items = self.items.lock().unwrap();
        let is_same = items.get(swap.key).map(|(state, _)| state) == swap.expected;
        if is_same {
            items.insert(swap.key.to_owned(), (swap.state.to_vec(), until));
        }
        Ok(is_same)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.items.lock().unwrap().remove(key);
        Ok(())
    }
}

/// A store, and two processes that decide in it; the clock of the second one is behind.
struct Apart {
    store: Arc<Shelf>,
    processes: [(Client<Arc<Shelf>>, ManualClock); 2],
}

impl Apart {
    fn by(behind: Duration) -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(Shelf {
            items: Mutex::default(),
            clock: ManualClock::new(),
        });
        let process = |clock: ManualClock| {
            let client = Client {
                store: Arc::clone(&store),
                capabilities: Capabilities::new(AlgorithmSet::ALL),
                prefix: "p".to_owned(),
                clock: Arc::new(clock.clone()),
                injected: false,
                timeout: Duration::from_secs(1),
                retries: 0,
                calls: 1,
                spread: foldhash::fast::RandomState::default(),
            };
            (client, clock)
        };
        let late = ManualClock::at(clock.now());
        late.step_back(behind);
        let processes = [process(clock), process(late)];
        Self { store, processes }
    }

    fn pass(&self, time: Duration) {
        self.store.clock.advance(time);
        for (_, clock) in &self.processes {
            clock.advance(time);
        }
    }

    async fn ask(&self, process: usize, policy: &Policy) -> Decision {
        let client = &self.processes[process].0;
        let key = KeyBuf::of("k");
        let check = Check::new(policy, policy.limits(), key.as_ref());
        let work = Owned::decide(&[check], Join::Each);
        let question = question(client.name(&check), work).unwrap();
        let mut told = client.ask(vec![question]).await.remove(0).unwrap();
        told.remove(0).unwrap()
    }
}

fn policy(algorithm: Algorithm) -> Policy {
    Policy::new("p", algorithm, "5/20s".parse().unwrap())
}

/// A clock that is behind moves no window, and no log, back and forth.
#[tokio::test]
async fn processes_that_take_turns_are_admitted_what_one_would_be() {
    for algorithm in Algorithm::ALL {
        for behind in [1, 500, 9_999] {
            let apart = Apart::by(Duration::from_millis(behind));
            let policy = policy(algorithm);
            let mut admitted = 0;
            for turn in 0..200 {
                let decision = apart.ask(turn % 2, &policy).await;
                admitted += u32::from(decision.is_allowed());
            }
            assert_eq!(admitted, 5, "{algorithm}, {behind} ms apart");
        }
    }
}

/// What is over for the one whose clock is ahead is not, for the other.
#[tokio::test]
async fn a_window_is_kept_until_it_is_over_for_everybody() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindowCounter] {
        let apart = Apart::by(Duration::from_secs(8));
        let policy = policy(algorithm);
        // The window of the one ends in 5 seconds, that of the other in 13.
        apart.pass(Duration::from_secs(15));
        for _ in 0..5 {
            assert!(apart.ask(0, &policy).await.is_allowed());
        }
        apart.pass(Duration::from_millis(12_999));
        assert!(!apart.ask(1, &policy).await.is_allowed(), "{algorithm}");
    }
}

/// More than that is a clock that stepped back, and nobody waits until it has come there again.
#[tokio::test]
async fn a_clock_that_stepped_back_locks_nobody_out() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let apart = Apart::by(Duration::from_hours(1));
        let policy = policy(algorithm);
        for _ in 0..5 {
            assert!(apart.ask(0, &policy).await.is_allowed());
        }
        let denied = apart.ask(1, &policy).await;
        assert!(!denied.is_allowed(), "{algorithm}");
        assert!(
            denied.retry_after() <= Duration::from_secs(20),
            "{algorithm}"
        );
    }
}
