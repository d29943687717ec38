//! This crate and what is written by hand, against one server, in turns.

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::contenders::{Contender, Ours};
use crate::load::{self, Load};
use crate::{Settings, row};

/// How many keys, and from how many tasks each number of them is asked for.
const CASES: [(usize, &[usize]); 2] = [(10_000, &[1, 16, 64, 256]), (1, &[1, 16, 64])];

/// A table for each number of keys.
pub fn compare<C: Contender>(
    name: &str,
    runtime: &Runtime,
    ours: Ours,
    by_hand: C,
    settings: &Settings,
) {
    let (ours, by_hand) = (Arc::new(ours), Arc::new(by_hand));
    for (count, tasks) in CASES {
        println!("\n## {name}, {count} keys\n");
        println!(
            "| tasks, who | decisions/s | against by hand | p50 | p99 |\n|---|---:|---:|---:|---:|"
        );
        let keys = load::keys(count);
        for tasks in tasks {
            let mut rounds = [vec![], vec![]];
            for _ in 0..settings.rounds {
                rounds[0].push(load::run(runtime, &ours, &keys, *tasks, settings.time));
                rounds[1].push(load::run(runtime, &by_hand, &keys, *tasks, settings.time));
            }
            let [ours, by_hand] = rounds.map(Load::median);
            row(&format!("{tasks}, {}", Ours::NAME), ours, by_hand);
            row(&format!("{tasks}, {}", C::NAME), by_hand, by_hand);
        }
    }
}

/// The head of a table of settings.
pub fn settings_head() {
    println!(
        "| setting | 1 task: decisions/s | p50 | 64 tasks: decisions/s | p50 |\n|---|---:|---:|---:|---:|"
    );
}

/// A setting of the store with one task, and with 64.
pub fn setting(name: &str, runtime: &Runtime, ours: Ours, settings: &Settings) {
    let ours = Arc::new(ours);
    let keys = load::keys(10_000);
    let loads = [1, 64].map(|tasks| {
        let rounds =
            (0..settings.rounds).map(|_| load::run(runtime, &ours, &keys, tasks, settings.time));
        Load::median(rounds.collect())
    });
    let [one, many] = loads;
    println!(
        "| {name} | {:.0} | {:?} | {:.0} | {:?} |",
        one.per_second, one.p50, many.per_second, many.p50
    );
}
