//! Random histories: every answer is that of the oracle.

use proptest::prelude::*;
use proptest::sample::select;

use super::oracle::Oracle;
use super::{Algorithm, NOON, Subject, nanos};
use crate::cases::cases;
use crate::limits::Limits;

/// Rates of every kind: slow and fast, with intervals that are whole ticks and that are not.
const RATES: [&str; 16] = [
    "1/4w",
    "7/4w",
    "1/366d",
    "10/m",
    "3/s",
    "100/h",
    "9_999_991/s",
    "10_000_000/s",
    "977/ms",
    "4294967295/5s",
    "1/ms",
    "1000000000/s",
    "5/3m",
    "2/s, 5/m",
    "1/s, 3/10s, 7/m, 11/h",
    "3/7s, 5/11s",
];

fn limits() -> impl Strategy<Value = Limits> {
    let burst = prop_oneof![Just(None), (1_u32..20).prop_map(Some), Just(Some(1_000))];
    (select(&RATES[..]), burst).prop_map(|(text, burst)| {
        let limits: Limits = text.parse().unwrap();
        match burst {
            Some(burst) => limits.with_bursts(&[burst]).unwrap_or(limits),
            None => limits,
        }
    })
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    select(&Algorithm::ALL[..])
}

/// What happens next: some of a period passes, perhaps exactly, and so many units are asked for.
#[derive(Clone, Debug)]
enum Pause {
    None,
    Ticks(u64),
    /// So many sixteenths of the period of one of the rates, and a tick more or less.
    Sixteenths(usize, u64, i64),
    /// Until the last answer's `retry_after`, and a tick more or less.
    Retry(i64),
    Reset(i64),
}

fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![
        3 => Just(Pause::None),
        1 => (0_u64..1_000).prop_map(Pause::Ticks),
        3 => (0_usize..4, 0_u64..40, -1_i64..=1).prop_map(|(r, n, t)| Pause::Sixteenths(r, n, t)),
        2 => (-1_i64..=1).prop_map(Pause::Retry),
        1 => (-1_i64..=1).prop_map(Pause::Reset),
    ]
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn every_answer_is_the_oracles(
        algorithm in algorithm(),
        limits in limits(),
        start in 0_u64..1 << 40,
        steps in prop::collection::vec((pause(), prop_oneof![4 => Just(1_u32), 1 => 0_u32..12, 1 => Just(u32::MAX)]), 1..60),
    ) {
        let mut subject = Subject::of(algorithm, &limits);
        let mut oracle = Oracle::new(algorithm, &limits);
        let mut now = NOON + start;
        let (mut retry, mut reset) = (0, 0);
        for (pause, cost) in steps {
            let rates = limits.as_slice();
            let (by, tick) = match pause {
                Pause::None => (0, 0),
                Pause::Ticks(ticks) => (ticks, 0),
                Pause::Sixteenths(rate, count, tick) => {
                    let period = nanos(rates[rate % rates.len()].rate().period());
                    (period / 16 * count, tick)
                }
                Pause::Retry(tick) => (retry, tick),
                Pause::Reset(tick) => (reset, tick),
            };
            now = (now + by).saturating_add_signed(tick).max(now);
            if now > 1 << 62 {
                // What is charged could reach past the end of time.
                break;
            }
            let capacity = limits.capacity(algorithm);
            // Costs above the capacity are refused before anything is asked.
            let cost = if cost == u32::MAX { capacity } else { cost.min(capacity) };

            let allowed = oracle.allows(now, cost);
            let peeked = subject.peek(now, cost);
            let decision = subject.at(now, cost);
            prop_assert_eq!(decision.is_allowed(), allowed);
            prop_assert_eq!(peeked.is_allowed(), allowed);
            if allowed && cost > 0 {
                oracle.charge(now, cost);
            }
            retry = nanos(decision.retry_after());
            reset = nanos(decision.reset_after());
            prop_assert_eq!(peeked.retry_after(), decision.retry_after());
            for (rate, quota) in decision.quotas().enumerate() {
                prop_assert_eq!(i128::from(quota.remaining), oracle.remaining(rate, now));
                let (retry, reset) = (nanos(quota.retry_after), nanos(quota.reset_after));
                if retry > 0 {
                    prop_assert!(!allowed);
                    prop_assert!(oracle.rate_allows(rate, now + retry, cost), "retry {retry}");
                    prop_assert!(!oracle.rate_allows(rate, now + retry - 1, cost), "retry {retry}");
                } else {
                    prop_assert!(allowed || oracle.rate_allows(rate, now, cost));
                }
                prop_assert!(oracle.is_full(rate, now + reset), "reset {reset}");
                prop_assert!(reset == 0 || !oracle.is_full(rate, now + reset - 1), "reset {reset}");
            }
            if !allowed {
                // The same call, alone, succeeds then and fails a tick before.
                prop_assert!(subject.peek(now + retry, cost).is_allowed());
                prop_assert!(!subject.peek(now + retry - 1, cost).is_allowed());
                prop_assert_eq!(decision.charge().cost(), 0);
            }
            prop_assert_eq!(decision.remaining(), decision.quotas().map(|q| q.remaining).min().unwrap());
            // What the state says of itself: fresh from then on, and not before.
            let fresh_at = subject.state.fresh_at().as_nanos();
            let full = |at| (0..rates.len()).all(|rate| oracle.is_full(rate, at));
            prop_assert!(full(fresh_at.max(now)));
            prop_assert!(fresh_at <= now || !full(fresh_at - 1));
        }
    }

    #[test]
    fn denied_calls_leave_no_trace(
        algorithm in algorithm(),
        limits in limits(),
        steps in prop::collection::vec((0_u64..30, 1_u32..5, 0_u32..20), 1..40),
    ) {
        let mut hammered = Subject::of(algorithm, &limits);
        let mut calm = hammered.clone();
        let mut now = NOON;
        let capacity = limits.capacity(algorithm);
        for (sixteenths, cost, hammering) in steps {
            let cost = cost.min(capacity);
            now += nanos(limits.as_slice()[0].rate().period()) / 16 * sixteenths;
            if calm.peek(now, cost).is_allowed() {
                calm.at(now, cost);
            }
            hammered.at(now, cost);
            prop_assert_eq!(&hammered.state, &calm.state);
            let left = hammered.remaining(now);
            for _ in 0..hammering {
                let too_much = (left + 1).min(capacity);
                prop_assert!(too_much <= left || !hammered.at(now, too_much).is_allowed());
            }
            if left < capacity {
                prop_assert_eq!(&hammered.state, &calm.state);
            } else {
                hammered.state = calm.state.clone();
            }
        }
    }
}
