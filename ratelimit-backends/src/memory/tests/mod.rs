//! The memory backend's own promises. The answers themselves are the arithmetic's.
//!
//! - `room`: which keys are kept, and how long.
//! - `growth`: what happens while segments are split.
//! - `overflow`: what holds the keys that find no room.
//! - `batches`: each by itself, or all or none.
//! - `limiter`: the short way.

mod batches;
mod growth;
mod limiter;
mod overflow;
mod room;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use ratelimit_core::{
    Adjust, Algorithm, Backend, Check, Clock, ErrorKind, Join, KeyBuf, KeyState, Limits,
    ManualClock, Policy, Sweep,
};

use super::MemoryBackend;
use super::session::Session;
use super::time::{Counter, Time};

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory backend waits for nobody"),
    }
}

fn policy(algorithm: Algorithm, limits: &str) -> Policy {
    Policy::named("p".into(), algorithm, limits.parse().unwrap())
}

fn backend(max_keys: usize) -> (MemoryBackend, ManualClock) {
    let clock = ManualClock::new();
    (
        MemoryBackend::builder()
            .clock(clock.clone())
            .max_keys(max_keys)
            .build(),
        clock,
    )
}

/// Whether one unit is admitted.
fn admit(backend: &MemoryBackend, policy: &Policy, key: &str) -> bool {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref());
    backend.decide_now(&check).unwrap().unwrap().is_allowed()
}

fn remaining(backend: &MemoryBackend, policy: &Policy, key: &str) -> u32 {
    let key = KeyBuf::of(key);
    let check = Check::new(policy, policy.limits(), key.as_ref());
    now(backend.peek(&[check])).remove(0).unwrap().remaining()
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_clock_that_steps_back_neither_grants_nor_locks_out() {
    for algorithm in Algorithm::ALL {
        let (backend, clock) = backend(10);
        let policy = policy(algorithm, "2/m");
        assert!(admit(&backend, &policy, "k") && admit(&backend, &policy, "k"));
        clock.step_back(Duration::from_hours(1));
        assert!(!admit(&backend, &policy, "k"), "{algorithm}");
        clock.advance(2 * MINUTE);
        assert!(admit(&backend, &policy, "k"), "{algorithm}");
    }
}

#[test]
fn exactly_the_limit_is_admitted_by_any_number_of_threads() {
    for algorithm in Algorithm::ALL {
        let (backend, _clock) = backend(10_000);
        let policy = policy(algorithm, "100/h, 100/d");
        let admitted: usize = thread::scope(|scope| {
            let work = || (0..50).filter(|_| admit(&backend, &policy, "hot")).count();
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(admitted, 100, "{algorithm}");
    }
}

#[test]
fn a_thread_that_is_held_up_takes_the_newest_instant_for_now() {
    // As if another thread had charged the key two hours after this one read the clock.
    let backend = MemoryBackend::new();
    let policy = policy(Algorithm::FixedWindow, "1/h, 5/d");
    let key = KeyBuf::of("k");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let id = backend.engine.key(&check);
    let later = ratelimit_core::SystemClock.now().plus(2 * 60 * MINUTE);
    for limits in ["1/h", "1/h, 5/d"] {
        let limits: Limits = limits.parse().unwrap();
        let check = Check::new(&policy, &limits, key.as_ref());
        now(backend.reset(&[check])).unwrap();
        let mut state = KeyState::fresh(policy.algorithm());
        assert!(state.decide(&check, later).is_allowed());
        let session = Session::open(&backend.engine, &[id]);
        let spot = session.spot(id, |_| false).unwrap();
        session.keep(&spot, id, state, &check);
        drop(session);
        let denied = backend.decide_now(&check).unwrap().unwrap();
        assert!(!denied.is_allowed());
        let hour = &denied.quotas().next().unwrap();
        assert_eq!(
            hour.retry_after,
            60 * MINUTE,
            "of the window's start, {limits}"
        );
    }
}

/// A clock that does something once, after it was read.
struct Interrupted {
    clock: ManualClock,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl core::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.clock.fmt(f)
    }
}

impl ratelimit_core::Clock for Interrupted {
    fn now(&self) -> ratelimit_core::Timestamp {
        let now = self.clock.now();
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        now
    }
}

/// A backend in which no key finds room.
fn full_backend(builder: super::MemoryBuilder) -> MemoryBackend {
    let backend = builder.build();
    let limits = "1/366d".parse().unwrap();
    let filler = Policy::named("filler".into(), Algorithm::FixedWindow, limits);
    let mut key = 0;
    while backend.keys() < backend.max_keys() {
        admit(&backend, &filler, &key.to_string());
        key += 1;
    }
    backend
}

/// A backend of several segments in which no key finds room.
fn full_backend_of_segments(clock: impl ratelimit_core::Clock) -> MemoryBackend {
    full_backend(MemoryBackend::builder().clock(clock).max_keys(8_192))
}
