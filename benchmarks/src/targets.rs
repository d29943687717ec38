//! What this crate promises of itself, and whether it keeps it.

use crate::cases::growth::{GROWTH, RESIDENT, WORST, pause};
use crate::cases::keyed::{answer, case, spreads};
use crate::cases::{calls, pauses, threads};
use crate::contenders::name;
use crate::keys::amount;
use crate::results::{Group, Outcome, Results};
use crate::settings::Settings;

/// Which side of the number is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    AtMost,
    AtLeast,
}

/// One promise.
#[derive(Debug)]
pub struct Target {
    pub what: String,
    pub bound: Bound,
    pub wanted: f64,
    pub unit: &'static str,
    /// Each number that it is about, and where it was measured.
    pub measured: Vec<(f64, String)>,
}

impl Target {
    fn new(what: &str, bound: Bound, wanted: f64, unit: &'static str) -> Self {
        Self {
            what: what.to_owned(),
            bound,
            wanted,
            unit,
            measured: Vec::new(),
        }
    }

    fn with(mut self, number: Option<f64>, at: &str) -> Self {
        self.measured
            .extend(number.map(|number| (number, at.to_owned())));
        self
    }

    /// The number that is furthest from what is wanted.
    pub fn worst(&self) -> Option<&(f64, String)> {
        let by_number = |a: &&(f64, String), b: &&(f64, String)| a.0.total_cmp(&b.0);
        match self.bound {
            Bound::AtMost => self.measured.iter().max_by(by_number),
            Bound::AtLeast => self.measured.iter().min_by(by_number),
        }
    }

    pub fn is_met_by(&self, number: f64) -> bool {
        match self.bound {
            Bound::AtMost => number <= self.wanted,
            Bound::AtLeast => number >= self.wanted,
        }
    }
}

/// Every promise, with what this run has measured of it.
pub fn all(results: &Results, settings: &Settings) -> Vec<Target> {
    let mut all = times(results, settings);
    all.extend(scaling(results));
    all.extend(memory_and_pauses(results, settings));
    all.extend(instructions(results));
    all
}

fn ratio(results: &Results, group: Group, case: &str, ours: &str, peer: &str) -> Option<f64> {
    let ours = results.find(group, case, ours)?;
    let peer = results.find(group, case, peer)?;
    Some(ours.median() / peer.median())
}

fn times(results: &Results, settings: &Settings) -> Vec<Target> {
    let few: &[u32] = &[1, 1_000];
    let many: &[u32] = &[100_000, 1_000_000, 10_000_000];
    let every = settings.key_counts();
    let against_dashmap = [
        (
            "`String` keys, 1 and 1 thousand, against governor over DashMap",
            Group::KeyedByString,
            few,
            0.4,
        ),
        (
            "`String` keys, 100 thousand and more, against governor over DashMap",
            Group::KeyedByString,
            many,
            0.25,
        ),
        (
            "`u64` keys, against governor keyed by `u64`",
            Group::KeyedByU64,
            every,
            0.45,
        ),
        (
            "`IpAddr` keys, against governor keyed by `IpAddr`",
            Group::KeyedByIpAddr,
            every,
            0.45,
        ),
    ];
    let mut targets = Vec::new();
    for (what, group, counts, wanted) in against_dashmap {
        let mut target = Target::new(what, Bound::AtMost, wanted, "×");
        for &keys in counts {
            for &spread in spreads(keys) {
                for allowed in [true, false] {
                    let case = case(keys, spread, allowed);
                    let ratio = ratio(results, group, &case, name::OURS, name::GOVERNOR_DASHMAP);
                    target = target.with(ratio, &case);
                }
            }
        }
        targets.push(target);
    }
    let mut direct = Target::new(
        "direct, against governor direct with its default clock",
        Bound::AtMost,
        1.1,
        "×",
    );
    for allowed in [true, false] {
        let case = answer(allowed);
        let ratio = ratio(results, Group::Direct, case, name::OURS, name::GOVERNOR);
        direct = direct.with(ratio, case);
    }
    targets.push(direct);
    targets
}

fn scaling(results: &Results) -> Vec<Target> {
    let speed_up = |case: &str, contender: &str| {
        let (one, two) = (threads::lane(contender, 1), threads::lane(contender, 2));
        ratio(results, Group::Threads, case, &two, &one)
    };
    let mut distinct = Target::new(
        "two threads, distinct keys, against one",
        Bound::AtLeast,
        1.6,
        "×",
    );
    for keys in [1_000, 100_000] {
        for allowed in [true, false] {
            let case = threads::distinct(keys, allowed);
            distinct = distinct.with(speed_up(&case, name::OURS), &case);
        }
    }
    let denials = Target::new(
        "two threads, denials on one hot key, against one",
        Bound::AtLeast,
        1.8,
        "×",
    );
    let denials = denials.with(
        speed_up(&threads::hot(false), name::OURS),
        &threads::hot(false),
    );
    let allowing = Target::new(
        "two threads allowing on one hot key, against one",
        Bound::AtLeast,
        1.0,
        "×",
    );
    let allowing = allowing.with(
        speed_up(&threads::hot(true), name::OURS),
        &threads::hot(true),
    );
    vec![distinct, denials, allowing]
}

fn memory_and_pauses(results: &Results, settings: &Settings) -> Vec<Target> {
    let resident = results.find(Group::Memory, RESIDENT, name::OURS);
    let keys = amount(settings.most_keys());
    let memory = Target::new(
        &format!("bytes a key at {keys} keys"),
        Bound::AtMost,
        32.0,
        " B",
    )
    .with(resident.map(Outcome::median), "resident");
    let mut pause_target = Target::new("worst pause of any check", Bound::AtMost, 1_000.0, " µs");
    let mut above = Target::new(
        "worst pause above that of a loop without a limiter (medians)",
        Bound::AtMost,
        100.0,
        " µs",
    );
    // A table that grows needs memory that nobody has touched.
    for (case, without) in [
        (pauses::case(settings), name::NOTHING),
        (GROWTH.to_owned(), name::NEW_MEMORY),
    ] {
        let worst = |contender| results.find(Group::Pauses, &pause(&case, WORST), contender);
        let ours = worst(name::OURS);
        pause_target = pause_target.with(ours.map(Outcome::most), &case);
        if let (Some(ours), Some(noise)) = (ours, worst(without)) {
            above = above.with(Some((ours.median() - noise.median()).max(0.0)), &case);
        }
    }
    vec![memory, pause_target, above]
}

fn instructions(results: &Results) -> Vec<Target> {
    let of = |group, case: &str, contender: &str| {
        results.find(group, case, contender).map(Outcome::median)
    };
    let keyed = Target::new(
        "instructions of a keyed decision, `String` key",
        Bound::AtMost,
        110.0,
        "",
    )
    .with(
        of(Group::Instructions, answer(true), name::OURS),
        answer(true),
    );
    let mut more = Vec::new();
    for (hand, what) in [
        (calls::BY_REGISTRY, "the registry's plain API by hand"),
        (calls::BY_BACKEND, "the backend asked by hand"),
    ] {
        let mut extra = Target::new(
            &format!("instructions of an annotated call over {what}"),
            Bound::AtMost,
            20.0,
            "",
        );
        let mut allocations = Target::new(
            &format!("allocations of an annotated call over {what}"),
            Bound::AtMost,
            0.0,
            "",
        );
        for allowed in [true, false] {
            let case = answer(allowed);
            for (group, target) in [
                (Group::Instructions, &mut extra),
                (Group::Allocations, &mut allocations),
            ] {
                let annotated = of(group, case, calls::ANNOTATED);
                let by_hand = of(group, case, hand);
                let difference = annotated.zip(by_hand).map(|(a, b)| a - b);
                target
                    .measured
                    .extend(difference.map(|number| (number, case.to_owned())));
            }
        }
        more.extend([extra, allocations]);
    }
    [keyed].into_iter().chain(more).collect()
}
