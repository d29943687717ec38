//! Random limits, and random steps that are said in terms of them, so that they meet boundaries
//! often: of a window, of an interval, of the last answer.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ratelimit_core::{Algorithm, JoinScope, Limit, Limits, MAX_LIMITS, Rate};

use crate::conformance::bench::{Bench, is_bucket};

/// Rates whose interval is no whole number of nanoseconds, or that lie at a bound.
const ODD: [&str; 9] = [
    "9_999_991/s",
    "7/4w",
    "3/s",
    "1/4w",
    "10_000_000/s",
    "977/ms",
    "4294967295/5s",
    "1/366d",
    "7/3ms",
];

const USUAL: [&str; 4] = ["5/s", "10/m", "100/h", "1000/d"];

/// What happens on a store, from that instant on.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// Nanoseconds.
    pub(super) start: u64,
    /// What the questions choose their limits from.
    pub(super) plans: Vec<Limits>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) pause: Pause,
    pub(super) action: Action,
}

/// How the clock moves. Rates are those of the first plan, by number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pause {
    None,
    Ticks(u8),
    /// So many sixteenths of a rate's period, and ticks.
    Sixteenths(u8, u8, i8),
    /// A rate's interval, and ticks.
    Interval(u8, i8),
    /// To the end of a rate's window, and ticks.
    WindowEnd(u8, i8),
    /// As long as the last answer said, and ticks.
    Retry(i8),
    Reset(i8),
    BackTicks(u8),
    BackSixteenths(u8, u8),
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Now(Ask),
    Each(Vec<Ask>),
    All(Vec<Ask>),
    Peek(Vec<Ask>),
    /// Of the charges before, counted from the latest.
    Adjust(Vec<(u8, By)>),
    Reset(Vec<Ask>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Which policy and key.
    pub(super) owner: u8,
    pub(super) plan: u8,
    pub(super) cost: Cost,
    pub(super) delay: Delay,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cost {
    Zero,
    Units(u8),
    /// So many 256ths of the capacity.
    Part(u8),
    Capacity,
    Above,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Delay {
    None,
    Sixteenths(u8),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Nothing,
    All,
    /// So many 256ths of the charge.
    Part(u8),
    MoreThanAll,
    More(u8),
    MuchMore,
}

pub(super) fn history(bench: &Bench, algorithm: Algorithm) -> impl Strategy<Value = History> {
    let tick = u64::try_from(bench.tick().as_nanos()).unwrap_or(u64::MAX);
    let max_log = bench.capabilities().max_log;
    // A log that is moved back must not reach to before the epoch.
    let early = match algorithm {
        Algorithm::SlidingWindow => 500_000_000_000_000_000,
        _ => 0,
    };
    let start = prop_oneof![
        1 => early..early + 100_000_000_u64,
        4 => 1_704_067_200_000_000_000..1_704_067_260_000_000_000_u64,
    ];
    let steps = vec(step(bench, algorithm), 1..60);
    (start, plans(algorithm, tick, max_log), steps).prop_map(move |(start, plans, steps)| History {
        start: start / tick * tick,
        plans,
        steps,
    })
}

fn rate(algorithm: Algorithm, tick: u64, max_log: u32) -> impl Strategy<Value = Rate> {
    let small = (1..=20_u32, 1..=60_u64).prop_map(|(limit, millis)| {
        Rate::new(limit, Duration::from_millis(millis)).expect("a rate")
    });
    let written = |texts: &'static [&'static str]| {
        select(texts).prop_map(|text| text.parse::<Rate>().expect("a rate"))
    };
    prop_oneof![3 => small, 2 => written(&ODD), 2 => written(&USUAL)]
        .prop_map(move |rate| bounded(rate.limit(), rate.period(), algorithm, tick, max_log))
}

/// The rate, or as much of it as the store can do.
fn bounded(limit: u32, period: Duration, algorithm: Algorithm, tick: u64, max_log: u32) -> Rate {
    let mut most = period.as_nanos();
    if is_bucket(algorithm) {
        most /= u128::from(tick);
    }
    if algorithm == Algorithm::SlidingWindow {
        most = most.min(max_log.into());
    }
    let limit = u128::from(limit).min(most).max(1);
    Rate::new(u32::try_from(limit).unwrap_or(u32::MAX), period).expect("a rate")
}

fn plans(algorithm: Algorithm, tick: u64, max_log: u32) -> impl Strategy<Value = Vec<Limits>> {
    let pool = prop_oneof![
        3 => vec(rate(algorithm, tick, max_log), 1..=2),
        1 => vec(rate(algorithm, tick, max_log), 3..=8),
    ];
    let limit = (
        any::<u8>(),
        0..6_u8,
        prop_oneof![2 => Just(None), 1 => (1..=40_u32).prop_map(Some)],
    );
    let plan = prop_oneof![
        2 => vec(limit.clone(), 1),
        1 => vec(limit, 2..=MAX_LIMITS),
    ];
    let plans = prop_oneof![2 => vec(plan.clone(), 1), 1 => vec(plan, 2..=8)];
    (pool, plans).prop_map(move |(pool, plans)| {
        let limit = |(which, change, burst): (u8, u8, Option<u32>)| {
            let rate = pool[usize::from(which) % pool.len()];
            let changed = match change {
                0 => rate.limit().saturating_mul(2),
                1 => rate.limit().div_ceil(2),
                2 => rate.limit().saturating_add(1),
                _ => rate.limit(),
            };
            let limit = Limit::new(bounded(changed, rate.period(), algorithm, tick, max_log));
            let burst = burst.and_then(|burst| limit.with_burst(burst).ok());
            burst.unwrap_or(limit)
        };
        let plan = |limits: Vec<_>| {
            let limits: Vec<_> = limits.into_iter().map(limit).collect();
            Limits::several(&limits).expect("one to four")
        };
        plans.into_iter().map(plan).collect()
    })
}

fn step(bench: &Bench, algorithm: Algorithm) -> impl Strategy<Value = Step> + use<> {
    let pause = prop_oneof![
        6 => Just(Pause::None),
        2 => (1..4_u8).prop_map(Pause::Ticks),
        4 => (any::<u8>(), 0..40_u8, -1..=1_i8).prop_map(|(rate, count, ticks)| Pause::Sixteenths(rate, count, ticks)),
        2 => (any::<u8>(), -1..=1_i8).prop_map(|(rate, ticks)| Pause::Interval(rate, ticks)),
        2 => (any::<u8>(), -1..=1_i8).prop_map(|(rate, ticks)| Pause::WindowEnd(rate, ticks)),
        3 => (-1..=1_i8).prop_map(Pause::Retry),
        1 => (-1..=1_i8).prop_map(Pause::Reset),
        1 => (1..4_u8).prop_map(Pause::BackTicks),
        1 => (any::<u8>(), 1..40_u8).prop_map(|(rate, count)| Pause::BackSixteenths(rate, count)),
    ];
    (pause, action(bench, algorithm)).prop_map(|(pause, action)| Step { pause, action })
}

fn action(bench: &Bench, algorithm: Algorithm) -> impl Strategy<Value = Action> + use<> {
    let capabilities = bench.capabilities();
    let ask = ask(capabilities.delay.contains(algorithm) || algorithm != Algorithm::LeakyBucket);
    let join = capabilities.join;
    let together = vec(ask.clone(), 1..=4).prop_map(move |mut asks| {
        if join == JoinScope::OneKey {
            asks.truncate(1);
        } else if join == JoinScope::SameSlot {
            let owner = asks[0].owner;
            for ask in &mut asks {
                ask.owner = owner;
            }
        }
        Action::All(asks)
    });
    let by = prop_oneof![
        1 => Just(By::Nothing),
        3 => Just(By::All),
        3 => any::<u8>().prop_map(By::Part),
        1 => Just(By::MoreThanAll),
        3 => (1..4_u8).prop_map(By::More),
        1 => Just(By::MuchMore),
    ];
    let adjusts = vec((0..6_u8, by), 1..=3);
    let refunds = u32::from(bench.refunds(algorithm));
    prop_oneof![
        8 => ask.clone().prop_map(Action::Now),
        4 => vec(ask.clone(), 1).prop_map(Action::Each),
        2 => vec(ask.clone(), 2..=4).prop_map(Action::Each),
        2 => together,
        2 => vec(ask.clone(), 1..=3).prop_map(Action::Peek),
        3 * refunds => adjusts.prop_map(Action::Adjust),
        1 => vec(ask, 1..=2).prop_map(Action::Reset),
    ]
}

fn ask(delays: bool) -> impl Strategy<Value = Ask> + Clone {
    let cost = prop_oneof![
        1 => Just(Cost::Zero),
        6 => Just(Cost::Units(1)),
        2 => (2..5_u8).prop_map(Cost::Units),
        3 => any::<u8>().prop_map(Cost::Part),
        2 => Just(Cost::Capacity),
        1 => Just(Cost::Above),
    ];
    let owner = prop_oneof![6 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    let plan = prop_oneof![3 => Just(0_u8), 2 => any::<u8>()];
    let longest = if delays { 24_u8 } else { 0 };
    let delay = (0..=longest).prop_map(|count| match count.checked_sub(8) {
        None | Some(0) => Delay::None,
        Some(count) => Delay::Sixteenths(count),
    });
    (owner, plan, cost, delay).prop_map(|(owner, plan, cost, delay)| Ask {
        owner,
        plan,
        cost,
        delay,
    })
}
