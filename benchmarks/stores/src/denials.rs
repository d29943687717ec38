//! A flood of calls that are denied.

use std::sync::Arc;

use ratelimit::{Rejection, aratelimit};

use crate::contenders::Contender;
use crate::{Settings, layers, load, row, runtime};

/// Each key is admitted once an hour, and asked for all the time.
#[aratelimit(key = key, rate = "1/h", backend = "denials", name = "denied, remembered")]
async fn remembered(key: &str) -> Result<(), Rejection> {
    Ok(())
}

#[aratelimit(key = key, rate = "1/h", backend = "redis", name = "denied")]
async fn asked(key: &str) -> Result<(), Rejection> {
    Ok(())
}

struct Remembered;

impl Contender for Remembered {
    const NAME: &'static str = "`DenialCache`";

    async fn decide(&self, key: &str) -> bool {
        remembered(key).await.is_ok()
    }
}

struct Asked;

impl Contender for Asked {
    const NAME: &'static str = "without";

    async fn decide(&self, key: &str) -> bool {
        asked(key).await.is_ok()
    }
}

/// The same flood with the layer and without.
pub fn flood(settings: &Settings) {
    println!("\n## Denied calls, 2 OS threads\n");
    println!(
        "| tasks, keys, who | decisions/s | against without | p50 | p99 |\n|---|---:|---:|---:|---:|"
    );
    let runtime = runtime(2);
    let (remembered, asked) = (Arc::new(Remembered), Arc::new(Asked));
    for (tasks, count) in [(1, 1), (2, 100), (16, 100), (256, 100), (256, 10_000)] {
        let keys = load::keys(count);
        // What is admitted, and remembered for the first time, is not the flood.
        load::run(&runtime, &remembered, &keys, tasks, settings.time);
        load::run(&runtime, &asked, &keys, tasks, settings.time);
        let mut rounds = [vec![], vec![]];
        for _ in 0..settings.rounds {
            rounds[0].push(load::run(
                &runtime,
                &remembered,
                &keys,
                tasks,
                settings.time,
            ));
            rounds[1].push(load::run(&runtime, &asked, &keys, tasks, settings.time));
        }
        let [mine, without] = rounds.map(load::Load::median);
        row(
            &format!("{tasks}, {count}, {}", Remembered::NAME),
            mine,
            without,
        );
        row(
            &format!("{tasks}, {count}, {}", Asked::NAME),
            without,
            without,
        );
    }
    let stats = layers().0.stats();
    println!(
        "\n{} answers from memory, {} from the store.",
        stats.hits(),
        stats.misses()
    );
}
