//! A key that is asked for all the time, with a lease and without.

use std::sync::Arc;

use ratelimit::layers::Lease;
use ratelimit::{Rejection, aratelimit};

use crate::contenders::Contender;
use crate::load::Load;
use crate::{Settings, layers, load, row, runtime};

/// Units a second, and how many at once.
const RATE: f64 = 1e6;

#[aratelimit(key = key, rate = "1000000/s", backend = "lease", name = "hot, leased")]
async fn leased(key: &str) -> Result<(), Rejection> {
    Ok(())
}

#[aratelimit(key = key, rate = "1000000/s", backend = "redis", name = "hot")]
async fn bare(key: &str) -> Result<(), Rejection> {
    Ok(())
}

struct Leased;

impl Contender for Leased {
    const NAME: &'static str = "`Lease`";

    async fn decide(&self, key: &str) -> bool {
        leased(key).await.is_ok()
    }
}

struct Bare;

impl Contender for Bare {
    const NAME: &'static str = "without";

    async fn decide(&self, key: &str) -> bool {
        bare(key).await.is_ok()
    }
}

/// The same load with the layer and without.
pub fn hot(settings: &Settings) {
    println!("\n## One key of a million a second, 2 OS threads\n");
    println!(
        "| tasks, who | decisions/s | against without | p50 | p99 |\n|---|---:|---:|---:|---:|"
    );
    let runtime = runtime(2);
    let (leased, bare) = (Arc::new(Leased), Arc::new(Bare));
    let mut admitted = Vec::new();
    let mut key = 0;
    for tasks in [1, 2, 16, 64, 256] {
        let mut rounds = [vec![], vec![]];
        for _ in 0..settings.rounds {
            // A key of its own for each round, so that all start with a full bucket.
            let keys = Arc::new(vec![format!("hot:{key}")]);
            key += 1;
            rounds[0].push(load::run(&runtime, &leased, &keys, tasks, settings.time));
            rounds[1].push(load::run(&runtime, &bare, &keys, tasks, settings.time));
        }
        admitted.extend(rounds[0].iter().map(|load| (tasks, *load)));
        let [mine, without] = rounds.map(Load::median);
        row(&format!("{tasks}, {}", Leased::NAME), mine, without);
        row(&format!("{tasks}, {}", Bare::NAME), without, without);
    }
    println!(
        "\n| tasks, with a lease | seconds | admitted | allowed at most |\n|---|---:|---:|---:|"
    );
    for (tasks, load) in admitted {
        let time = load.took.as_secs_f64();
        let allowed = RATE + RATE * (time + Lease::DEFAULT_LIFE.as_secs_f64());
        println!("| {tasks} | {time:.3} | {} | {allowed:.0} |", load.admitted);
        assert!(load.admitted as f64 <= allowed, "more than is allowed");
    }
    println!("\n{:?}", layers().1.stats());
}
