//! [`Results`]: what was measured, and how contenders take turns.

use crate::settings::Settings;

/// The cases that belong together in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Floor,
    Direct,
    KeyedByString,
    KeyedByU64,
    KeyedByIpAddr,
    Algorithms,
    Threads,
    Memory,
    Pauses,
    Calls,
    Instructions,
    Allocations,
}

impl Group {
    /// What `--only` takes, and the start of each case's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Direct => "direct",
            Self::KeyedByString => "keyed by String",
            Self::KeyedByU64 => "keyed by u64",
            Self::KeyedByIpAddr => "keyed by IpAddr",
            Self::Algorithms => "algorithms",
            Self::Threads => "threads",
            Self::Memory => "memory",
            Self::Pauses => "pauses",
            Self::Calls => "calls",
            Self::Instructions => "instructions",
            Self::Allocations => "allocations",
        }
    }
}

/// One contender in one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub group: Group,
    pub case: String,
    pub contender: String,
    /// One number for each round.
    pub rounds: Vec<f64>,
}

impl Outcome {
    pub fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn most(&self) -> f64 {
        self.rounds
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

/// A contender that is about to take part in a case.
pub struct Lane<'a> {
    pub name: String,
    /// One round; the number to note of it.
    pub run: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Lane<'a> {
    pub fn new(name: impl Into<String>, run: impl FnMut() -> f64 + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// Everything that was measured, in the order of the measurements.
#[derive(Debug, Default)]
pub struct Results(Vec<Outcome>);

impl Results {
    /// Lets contenders take turns, each round in another order, after a round that does not count.
    pub fn race(
        &mut self,
        settings: &Settings,
        group: Group,
        case: &str,
        mut lanes: Vec<Lane<'_>>,
    ) {
        eprint!("{}, {case}:", group.name());
        let mut rounds = vec![Vec::new(); lanes.len()];
        for lane in &mut lanes {
            (lane.run)();
        }
        for round in 0..settings.rounds {
            for turn in 0..lanes.len() {
                let index = (turn + round) % lanes.len();
                rounds[index].push((lanes[index].run)());
            }
        }
        for (lane, rounds) in lanes.iter().zip(rounds) {
            let outcome = Outcome {
                group,
                case: case.to_owned(),
                contender: lane.name.clone(),
                rounds,
            };
            eprint!("  {} {:.1}", outcome.contender, outcome.median());
            self.0.push(outcome);
        }
        eprintln!();
    }

    /// Notes numbers that were not raced for.
    pub fn note(&mut self, group: Group, case: &str, contender: &str, rounds: Vec<f64>) {
        let outcome = Outcome {
            group,
            case: case.to_owned(),
            contender: contender.to_owned(),
            rounds,
        };
        eprintln!(
            "{}, {case}:  {contender} {:.1}",
            group.name(),
            outcome.median()
        );
        self.0.push(outcome);
    }

    pub fn of(&self, group: Group) -> impl Iterator<Item = &Outcome> {
        self.0.iter().filter(move |outcome| outcome.group == group)
    }

    pub fn find(&self, group: Group, case: &str, contender: &str) -> Option<&Outcome> {
        self.of(group)
            .find(|outcome| outcome.case == case && outcome.contender == contender)
    }

    /// The cases of a group, in order.
    pub fn cases(&self, group: Group) -> Vec<&str> {
        distinct(self.of(group).map(|outcome| outcome.case.as_str()))
    }

    /// The contenders of a group, in order.
    pub fn contenders(&self, group: Group) -> Vec<&str> {
        distinct(self.of(group).map(|outcome| outcome.contender.as_str()))
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
