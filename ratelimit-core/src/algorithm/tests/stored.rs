//! States as bytes: nothing is lost, and nothing that is no state is taken for one.

use proptest::prelude::*;

use super::random::{Call, algorithm, some_limits, start};
use super::{Algorithm, KeyState, NOON, SECOND, Subject, Timestamp};
use crate::algorithm::StateFault;
use crate::cases::cases;

fn encoded(state: &KeyState) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.encode(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_state_comes_back_as_it_was(
        algorithm in algorithm(),
        limits in prop::collection::vec(some_limits(), 1..4),
        start in start(),
        calls in Call::several(30),
    ) {
        let mut subject = Subject::of(algorithm, &limits[0]);
        let mut now = start;
        for limits in limits {
            subject.policy = subject.policy.clone().with_limits(limits);
            subject.play_all(&mut now, &calls);
            let bytes = encoded(&subject.state);
            prop_assert_eq!(KeyState::decode(&bytes), Ok(subject.state.clone()));
            // Every byte is needed, and none more.
            let cut = KeyState::decode(&bytes[..bytes.len() - 1]);
            prop_assert_eq!(cut, Err(StateFault::TooShort));
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(KeyState::decode(&longer), Err(StateFault::TooLong));
        }
    }

    #[test]
    fn what_a_step_back_leaves_comes_back(
        algorithm in algorithm(),
        limits in some_limits(),
        start in prop_oneof![Just(0), start()],
        calls in Call::several(10),
        back in prop_oneof![Just(0), any::<u64>()],
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let mut now = start;
        subject.play_all(&mut now, &calls);
        subject.at(back % (now + 1), 1);
        let bytes = encoded(&subject.state);
        prop_assert_eq!(KeyState::decode(&bytes), Ok(subject.state.clone()));
    }

    #[test]
    fn bytes_are_one_state_or_none(
        algorithm in 0..8_u8,
        rates in 0..10_u8,
        mut bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..120),
        now in start(),
    ) {
        let head = [1, algorithm, rates];
        bytes.splice(0..0, head);
        if let Ok(mut state) = KeyState::decode(&bytes) {
            prop_assert_eq!(encoded(&state), bytes);
            // However strange it is, it can be decided on.
            let subject = Subject::new(state.algorithm(), "3/s, 7/4w");
            state.decide(&subject.check(), Timestamp::from_nanos(now));
            state.fresh_at();
            state.newest();
            state.newest_under(subject.check().limits);
        }
    }
}

/// What is stored today has to be read for good.
#[test]
fn the_format_is_the_one_that_is_written_down() {
    let period = 1_000_000_000_u64.to_be_bytes();
    let seconds = |seconds: u64| (NOON / SECOND + seconds).to_be_bytes();
    let number = |number: u32| number.to_be_bytes();
    let of = |algorithm, limits| {
        let mut subject = Subject::new(algorithm, limits);
        subject.at(NOON + 250_000_000, 2);
        encoded(&subject.state)
    };
    let third = [
        &[1, 0, 1][..],
        &period,
        &seconds(0),
        &number(916_666_666),
        &number(2),
        &number(3),
    ];
    assert_eq!(of(Algorithm::TokenBucket, "3/s"), third.concat());
    let window = [&[1, 2, 1][..], &period, &seconds(0), &number(2)];
    assert_eq!(of(Algorithm::FixedWindow, "5/s"), window.concat());
    let counter = [&[1, 4, 1][..], &period, &seconds(0), &number(0), &number(2)];
    assert_eq!(of(Algorithm::SlidingWindowCounter, "5/s"), counter.concat());
    let log = [
        &[1, 3, 1][..],
        &period,
        &number(1),
        &2_u64.to_be_bytes(),
        &seconds(0),
        &number(250_000_000),
        &number(2),
    ];
    assert_eq!(of(Algorithm::SlidingWindow, "5/s"), log.concat());
    for (algorithm, known) in [
        (Algorithm::TokenBucket, 0),
        (Algorithm::LeakyBucket, 1),
        (Algorithm::FixedWindow, 2),
        (Algorithm::SlidingWindow, 3),
        (Algorithm::SlidingWindowCounter, 4),
        (Algorithm::Gcra, 5),
    ] {
        assert_eq!(encoded(&KeyState::fresh(algorithm)), [1, known, 0]);
    }
}

#[test]
fn what_is_no_state_says_why() {
    let period = 1_000_000_000_u64.to_be_bytes();
    let bucket = |nanos: u32, part: u32, q: u32| {
        let numbers = [nanos, part, q].map(u32::to_be_bytes).concat();
        [&[1, 0, 1][..], &period, &[0; 8], &numbers].concat()
    };
    let log_of = |total: u64, entries: &[(u64, u32)]| {
        let count = u32::try_from(entries.len()).unwrap().to_be_bytes();
        let total = total.to_be_bytes();
        let entries = entries.iter().flat_map(|(seconds, cost)| {
            [&seconds.to_be_bytes()[..], &[0; 4], &cost.to_be_bytes()].concat()
        });
        let head = [&[1, 3, 1][..], &period, &count, &total].concat();
        head.into_iter().chain(entries).collect::<Vec<u8>>()
    };
    let log = |entries: &[(u64, u32)]| {
        let total = entries.iter().map(|(_, cost)| u64::from(*cost)).sum();
        log_of(total, entries)
    };
    let too_late = [&[1, 0, 1][..], &period, &[0xff; 8], &[0; 4], &[0; 8]].concat();
    let far_more = [&[1, 3, 1][..], &period, &[0xff; 4], &[0; 8]].concat();
    assert!(KeyState::decode(&bucket(999_999_999, 2, 3)).is_ok());
    assert!(KeyState::decode(&log(&[(1, 1), (2, 1)])).is_ok());
    for (bytes, fault, message) in [
        (vec![], StateFault::Empty, "the stored state is empty"),
        (
            vec![2, 0, 0],
            StateFault::Format(2),
            "the stored state has format 2, and this release reads 1",
        ),
        (
            vec![1, 6, 0],
            StateFault::Algorithm(6),
            "the stored state is of an algorithm with the number 6, which this release does not know",
        ),
        (
            vec![1, 0, 9],
            StateFault::Rates(9),
            "the stored state is of 9 rates, and a key has at most 8",
        ),
        (
            vec![1],
            StateFault::TooShort,
            "the stored state ends too soon",
        ),
        (
            vec![1, 0, 0, 0],
            StateFault::TooLong,
            "something stands behind the stored state",
        ),
        (
            bucket(1_000_000_000, 0, 1),
            StateFault::Impossible,
            "the stored state has numbers that no state has",
        ),
        (bucket(0, 3, 3), StateFault::Impossible, ""),
        (bucket(0, 1, 0), StateFault::Impossible, ""),
        (
            vec![1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            StateFault::Impossible,
            "",
        ),
        (too_late, StateFault::Impossible, ""),
        (log(&[(2, 1), (1, 1)]), StateFault::Impossible, ""),
        (log(&[(1, 1), (1, 1)]), StateFault::Impossible, ""),
        (log(&[(1, 0)]), StateFault::Impossible, ""),
        (log_of(3, &[(1, 1), (2, 1)]), StateFault::Impossible, ""),
        // Nothing is allocated for what is not there.
        (far_more, StateFault::TooShort, ""),
    ] {
        let found = KeyState::decode(&bytes).unwrap_err();
        assert_eq!(found, fault, "{bytes:?}");
        if !message.is_empty() {
            assert_eq!(found.to_string(), message);
        }
    }
}
