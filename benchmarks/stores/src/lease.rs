//! A key that is asked for all the time, with a lease and without.

use std::sync::Arc;

use ratelimit::layers::Lease;
use ratelimit::{Backend, Layer, RedisBackend, Registry};
use ratelimit_tests::servers::redis::Redis;

use crate::contenders::{GENEROUS, Ours};
use crate::load::Load;
use crate::{PATIENCE, Settings, load, row, runtime};

/// Units a second, and how many at once.
const RATE: f64 = 1e6;

/// The same load with the layer and without.
pub fn hot(server: &Redis, settings: &Settings) {
    println!("\n## One key of a million a second, 2 OS threads\n");
    println!(
        "| tasks, who | decisions/s | against without | p50 | p99 |\n|---|---:|---:|---:|---:|"
    );
    let runtime = runtime(2);
    let lease = Lease::new();
    let ours = |layered: bool| {
        let connect = RedisBackend::builder(server.url())
            .timeout(PATIENCE)
            .connect();
        let backend: Arc<dyn Backend> = Arc::new(runtime.block_on(connect).expect("it is there"));
        let backend = if layered {
            lease.layer(backend).expect("a layer")
        } else {
            backend
        };
        let builder = Registry::builder().backend("redis", backend);
        let registry = builder.default_backend("redis").build();
        Arc::new(Ours::new(registry.expect("no faults"), GENEROUS))
    };
    let (leased, bare) = (ours(true), ours(false));
    let mut kept = Vec::new();
    for tasks in [1, 64, 256] {
        let mut rounds = [vec![], vec![]];
        for _ in 0..settings.rounds {
            // A key of its own for each round, so that all start with a full bucket.
            for (ours, rounds) in [&leased, &bare].into_iter().zip(&mut rounds) {
                let key = Arc::new(vec![format!("hot:{}", kept.len())]);
                let load = load::run(&runtime, ours, &key, tasks, settings.time);
                kept.push((tasks, Arc::ptr_eq(ours, &leased), load));
                rounds.push(load);
            }
        }
        let [leased, bare] = rounds.map(Load::median);
        row(&format!("{tasks}, `Lease`"), leased, bare);
        row(&format!("{tasks}, without"), bare, bare);
    }
    println!("\n| tasks, who | admitted | at most allowed |\n|---|---:|---:|");
    for (tasks, leased, load) in kept {
        let life = if leased {
            Lease::DEFAULT_LIFE.as_secs_f64()
        } else {
            0.0
        };
        let allowed = RATE + RATE * (load.took.as_secs_f64() + life);
        let who = if leased { "`Lease`" } else { "without" };
        println!("| {tasks}, {who} | {} | {allowed:.0} |", load.admitted);
        assert!(load.admitted as f64 <= allowed, "more than is allowed");
    }
    println!("\n{:?}", lease.stats());
}
