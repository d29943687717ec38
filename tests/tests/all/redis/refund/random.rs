//! Random histories, said in terms of their rates and charges.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use ratelimit_core::{Algorithm, Limits, Rate};

/// Rates of different periods, some of which are no whole number of nanoseconds for a unit.
const RATES: [&str; 12] = [
    "3/7ms",
    "977/ms",
    "20/50ms",
    "5/s",
    "7/3s",
    "9_999/10s",
    "10/m",
    "7/4w",
    "100/h",
    "1000/d",
    "3/w",
    "1/366d",
];

/// The same where no log is kept of them.
const LARGE: [&str; 4] = [
    "9_999_991/s",
    "4294967295/5s",
    "4294967295/366d",
    "10_000_019/30d",
];

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A part of a rate's period, in 64ths, and nanoseconds.
    Pass(u8, u8, i8),
    Back(u8, u8),
    /// Owner, plan, cost and delay in 256ths.
    Decide(u8, u8, u8, u8),
    /// Charges counted from the latest, under the same plan or another.
    Adjust(Vec<(u8, Option<u8>, By)>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Nothing,
    All,
    /// In 256ths.
    Less(u8),
    One(bool),
    More(u8),
    Most(bool),
}

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) plans: Vec<Limits>,
    pub(super) actions: Vec<Action>,
}

fn plan(algorithm: Algorithm) -> impl Strategy<Value = Limits> {
    let mut rates: Vec<&str> = RATES.to_vec();
    if algorithm != Algorithm::SlidingWindow {
        rates.extend(LARGE);
    }
    let rates = subsequence(rates, 1..=4);
    let burst = prop_oneof![3 => Just(None), 1 => (1..50_u32).prop_map(Some)];
    (rates, burst).prop_map(|(rates, burst)| {
        let limits: Limits = rates.join(", ").parse().expect("rates");
        match burst.map(|burst| limits.with_bursts(&[burst])) {
            Some(Ok(limits)) => limits,
            _ => limits,
        }
    })
}

/// The same periods with as many times fewer units, and one more.
fn divided(limits: &Limits, by: u32) -> Limits {
    let rates = limits.as_slice().iter().map(|limit| {
        let rate = limit.rate();
        Rate::new(rate.limit() / by + u32::from(by > 1), rate.period()).expect("a rate")
    });
    let rates: Vec<_> = rates.collect();
    Limits::from_rates(&rates, &[]).expect("as many")
}

/// `usual`: the limits stay, and the clock does not step back.
pub(super) fn history(algorithm: Algorithm, usual: bool) -> impl Strategy<Value = History> {
    let by = prop_oneof![
        1 => Just(By::Nothing),
        3 => Just(By::All),
        3 => any::<u8>().prop_map(By::Less),
        2 => any::<bool>().prop_map(By::One),
        3 => any::<u8>().prop_map(By::More),
        2 => any::<bool>().prop_map(By::Most),
    ];
    let other = prop_oneof![5 => Just(None), 1 => any::<u8>().prop_map(Some)];
    let adjust = (prop_oneof![3 => 0..3_u8, 1 => 0..12_u8], other, by);
    let small = prop_oneof![4 => Just(0_u8), 4 => 0..20_u8, 1 => 60..70_u8, 2 => any::<u8>()];
    let back = u32::from(!usual);
    let action = prop_oneof![
        3 => (any::<u8>(), small, any::<i8>()).prop_map(|(rate, parts, by)| Action::Pass(rate, parts, by)),
        back => (any::<u8>(), 0..70_u8).prop_map(|(rate, parts)| Action::Back(rate, parts)),
        4 => (0..2_u8, any::<u8>(), any::<u8>(), select(vec![0_u8, 0, 20, 200]))
            .prop_map(|(owner, plan, cost, delay)| Action::Decide(owner, plan, cost, delay)),
        4 => vec(adjust, 1..5).prop_map(Action::Adjust),
    ];
    let plans = vec(plan(algorithm), if usual { 1..=1 } else { 1..=3 });
    let less = if usual {
        Just(None).boxed()
    } else {
        proptest::option::of(1..9_u32).boxed()
    };
    (plans, less, vec(action, 1..40)).prop_map(|(mut plans, less, actions)| {
        plans.extend(less.map(|by| divided(&plans[0], by)));
        History { plans, actions }
    })
}

impl By {
    pub(super) fn units(self, charged: u32) -> i64 {
        let charged = i64::from(charged);
        match self {
            Self::Nothing => 0,
            Self::All => -charged,
            Self::Less(part) => -(charged * i64::from(part) / 256),
            Self::One(more) => [-1, 1][usize::from(more)],
            Self::More(units) => units.into(),
            Self::Most(more) => [i64::MIN, i64::MAX][usize::from(more)],
        }
    }
}
