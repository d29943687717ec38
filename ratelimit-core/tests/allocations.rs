//! How often deciding allocates, which is what a backend in memory costs above its own work.

// A global allocator cannot be written without it; this one only counts and passes on.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ratelimit_core::{Algorithm, Check, KeyBuf, KeyState, Policy, Timestamp};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    let result = work();
    let made = ALLOCATIONS.get() - before;
    drop(result);
    made
}

/// The allocations of admitted, denied and asked calls of a key that is known.
fn of_a_known_key(algorithm: Algorithm, limits: &str) -> [usize; 3] {
    let policy = Policy::named("policy".into(), algorithm, limits.parse().unwrap());
    let key = KeyBuf::of("alice");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let mut state = KeyState::fresh(algorithm);
    let mut now = Timestamp::from_unix(Duration::from_hours(480_000));
    assert!(state.decide(&check, now).is_allowed());
    now = now.plus(Duration::from_secs(1));
    let admitted = allocations(|| state.decide(&check, now));
    let denied = allocations(|| state.decide(&check.with_cost(5), now));
    let asked = allocations(|| state.peek(&check, now));
    [admitted, denied, asked]
}

#[test]
fn one_rate_allocates_nothing() {
    for algorithm in Algorithm::ALL {
        assert_eq!(of_a_known_key(algorithm, "5/m"), [0; 3], "{algorithm}");
    }
}

#[test]
fn several_rates_allocate_only_for_the_answer() {
    for algorithm in Algorithm::ALL {
        // The quotas and, of buckets, where the charge of each leads.
        let most = if algorithm.is_bucket() { 2 } else { 1 };
        let made = of_a_known_key(algorithm, "5/m, 100/h, 200/d, 300/w");
        assert_eq!(made, [most; 3], "{algorithm}");
    }
}

#[test]
fn a_common_key_allocates_nothing() {
    let address = IpAddr::from(Ipv6Addr::LOCALHOST);
    let tenant = String::from("f47ac10b-58cc-4372-a567-0e02b2c3d479");
    assert_eq!(allocations(|| KeyBuf::of(&(&tenant, address, 7_u64))), 0);
}
