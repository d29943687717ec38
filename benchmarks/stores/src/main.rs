//! Decisions in Redis, side by side with what a user would do instead, in one run against one server.

mod contenders;
#[cfg(feature = "limitador")]
mod limitador;
mod load;

use core::time::Duration;
use std::sync::Arc;

use contenders::{ByHand, Contender, GENEROUS, Ours};
use load::Load;
use ratelimit::{RedisBackend, Registry};
use ratelimit_tests::servers::redis::Redis;
use tokio::runtime::{Builder, Runtime};

fn main() {
    let server = Redis::start();
    let rounds = std::env::var("ROUNDS").map_or(3, |it| it.parse().unwrap());
    let only = std::env::var("ONLY").is_ok();
    let time = Duration::from_millis(700);
    let list = |name: &str, all: &[usize]| std::env::var(name).map_or(all.to_vec(), |it| it.split(',').map(|it| it.parse().unwrap()).collect());
    for threads in list("THREADS", &[1, 2]) {
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        let registry = runtime.block_on(async {
            let backend = RedisBackend::builder(server.url()).timeout(Duration::from_secs(5));
            let backend = tune(backend).connect().await.unwrap();
            Registry::builder().backend("redis", backend).default_backend("redis").build().unwrap()
        });
        let ours = Arc::new(Ours::new(registry, GENEROUS));
        let by_hand = Arc::new(runtime.block_on(ByHand::new(&server.url())));
        #[cfg(feature = "limitador")]
        let limitador = Arc::new(runtime.block_on(limitador::Limitador::new(&server.url())));
        let keys = load::keys(10_000);
        for tasks in list("TASKS", &[1, 16, 64, 256, 1024]) {
            let mut all = [vec![], vec![], vec![]];
            if std::env::var("SPLIT").is_ok() {
                let show = |who: &str| { let s = server.ask("INFO commandstats"); for l in s.lines().filter(|l| l.contains("evalsha")) { println!("{who} {l}"); } server.ask("CONFIG RESETSTAT"); };
                server.ask("CONFIG RESETSTAT");
                load::run(&runtime, &ours, &keys, tasks, time); show("ours");
                load::run(&runtime, &by_hand, &keys, tasks, time); show("hand");
            }
            for _ in 0..rounds {
                all[0].push(load::run(&runtime, &ours, &keys, tasks, time));
                if !only || all[1].is_empty() { all[1].push(load::run(&runtime, &by_hand, &keys, tasks, if only { time / 10 } else { time })); }
                #[cfg(feature = "limitador")]
                { all[2].push(load::run(&runtime, &limitador, &keys, tasks, time)); }
            }
            let stats = server.ask("INFO commandstats");
            if only { let l = load::run(&runtime, &ours, &keys, 1, time/10); let _ = l; for l in stats.lines().filter(|l| l.contains("evalsha") || l.contains("stat_get")) { println!("{l}"); } server.ask("CONFIG RESETSTAT"); }
            let [a, b, c] = all;
            let (a, b) = (Load::median(a), Load::median(b));
            print!("{threads} threads {tasks:5} tasks: ours {:8.0}/s p50 {:?} p99 {:?}; by hand {:8.0}/s p50 {:?} p99 {:?}: {:.2}x", a.per_second, a.p50, a.p99, b.per_second, b.p50, b.p99, a.per_second / b.per_second);
            if !c.is_empty() { let c = Load::median(c); print!("; limitador {:8.0}/s", c.per_second); }
            println!();
        }
    }
}

fn tune(mut b: ratelimit::RedisBuilder) -> ratelimit::RedisBuilder {
    let n = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok());
    if let Some(v) = n("INFLIGHT") { b = b.in_flight(v); }
    if let Some(v) = n("BATCH") { b = b.max_batch(v); }
    if let Some(v) = n("CONNS") { b = b.connections(v); }
    b
}
