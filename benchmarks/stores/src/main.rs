//! Decisions in shared stores, side by side with what a user would do instead, in one run against one server of each kind: see
//! `README.md`.

mod blocking;
mod ceiling;
mod contenders;
mod databases;
mod denials;
mod lease;
#[cfg(feature = "limitador")]
mod limitador;
mod load;
mod memcached;
mod side_by_side;

use core::time::Duration;
use std::sync::{Arc, LazyLock};

use contenders::{ByHand, Contender, GENEROUS, Many, Ours};
use load::Load;
use ratelimit::layers::{DenialCache, Lease};
use ratelimit::{Layer, RedisBackend, Registry};
use ratelimit_tests::servers::redis::Redis;
use tokio::runtime::{Builder, Runtime};

/// More than anything takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be run by itself, if it is named.
const PARTS: [&str; 13] = [
    "tasks",
    "batches",
    "denials",
    "lease",
    "ceiling",
    "threads",
    "postgres",
    "mariadb",
    "sqlite",
    "durability",
    "mongodb",
    "write-concern",
    "memcached",
];

/// Those of Redis.
const OF_REDIS: usize = 6;

struct Settings {
    rounds: usize,
    time: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let named: Vec<_> = arguments
        .iter()
        .filter(|it| !it.starts_with("--"))
        .collect();
    if let Some(unknown) = named.iter().find(|it| !PARTS.contains(&it.as_str())) {
        eprintln!("there is no part {unknown:?}; there are {PARTS:?}");
        std::process::exit(2);
    }
    let wants = |part: &str| named.is_empty() || named.iter().any(|it| *it == part);
    let settings = if quick {
        Settings {
            rounds: 1,
            time: Duration::from_millis(50),
        }
    } else {
        Settings {
            rounds: 5,
            time: Duration::from_millis(800),
        }
    };
    if PARTS[..OF_REDIS].iter().any(|part| wants(part)) {
        redis(wants, &settings);
    }
    if wants("postgres") {
        databases::postgres(&settings);
    }
    if wants("mariadb") {
        databases::mariadb(&settings);
    }
    if wants("sqlite") {
        databases::sqlite(&settings);
    }
    if wants("durability") {
        databases::durability(&settings);
    }
    if wants("mongodb") {
        databases::mongodb(&settings);
    }
    if wants("write-concern") {
        databases::write_concern(&settings);
    }
    if wants("memcached") {
        memcached::memcached(&settings);
    }
}

fn redis(wants: impl Fn(&str) -> bool, settings: &Settings) {
    let server = Redis::start();
    install(&server);
    if wants("tasks") {
        for threads in [1, 2] {
            tasks(&server, &runtime(threads), threads, settings);
        }
    }
    if wants("batches") {
        batches(&server, settings);
    }
    if wants("denials") {
        denials::flood(settings);
    }
    if wants("lease") {
        lease::hot(settings);
    }
    if wants("ceiling") {
        highest(&server, settings);
    }
    if wants("threads") {
        blocked(&server, settings);
    }
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).enable_all().build();
    runtime.expect("threads")
}

async fn registry(server: &Redis) -> Registry {
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await.expect("it is there");
    let builder = Registry::builder().backend("redis", backend);
    builder.default_backend("redis").build().expect("no faults")
}

fn row(name: &str, load: Load, base: Load) {
    println!(
        "| {name} | {:.0} | {:.2}× | {:?} | {:?} |",
        load.per_second,
        load.per_second / base.per_second,
        load.p50,
        load.p99
    );
}

/// One check a call, from so many tasks.
fn tasks(server: &Redis, runtime: &Runtime, threads: usize, settings: &Settings) {
    let ours = runtime.block_on(async { Ours::new(registry(server).await, GENEROUS) });
    let ours = Arc::new(ours);
    let by_hand = Arc::new(runtime.block_on(ByHand::new(&server.url())));
    #[cfg(feature = "limitador")]
    let limitador = Arc::new(runtime.block_on(limitador::Limitador::new(&server.url())));
    for (keys, counts) in [
        (10_000, &[1, 16, 64, 256, 1024][..]),
        (1, &[1, 64, 1024][..]),
    ] {
        println!("\n## {threads} OS threads, {keys} keys\n");
        println!(
            "| tasks, who | decisions/s | against by hand | p50 | p99 |\n|---|---:|---:|---:|---:|"
        );
        let keys = load::keys(keys);
        for tasks in counts {
            let mut rounds = [vec![], vec![], vec![]];
            for _ in 0..settings.rounds {
                rounds[0].push(load::run(runtime, &ours, &keys, *tasks, settings.time));
                rounds[1].push(load::run(runtime, &by_hand, &keys, *tasks, settings.time));
                #[cfg(feature = "limitador")]
                rounds[2].push(load::run(runtime, &limitador, &keys, *tasks, settings.time));
            }
            let [mine, hand, limitador] = rounds;
            let (mine, hand) = (Load::median(mine), Load::median(hand));
            row(&format!("{tasks}, {}", Ours::NAME), mine, hand);
            row(&format!("{tasks}, {}", ByHand::NAME), hand, hand);
            if !limitador.is_empty() {
                row(
                    &format!("{tasks}, limitador"),
                    Load::median(limitador),
                    hand,
                );
            }
        }
    }
}

/// Batches of one caller, from 16 tasks.
fn batches(server: &Redis, settings: &Settings) {
    let runtime = runtime(2);
    let keys = load::keys(10_000);
    println!("\n## Batches, 16 tasks\n");
    println!("| checks in a batch | checks/s | p50 of a batch | p99 |\n|---|---:|---:|---:|");
    for size in [1, 16, 128] {
        let many = runtime.block_on(async {
            let ours = Ours::new(registry(server).await, GENEROUS);
            Arc::new(Many::new(ours, size, &keys))
        });
        let rounds =
            (0..settings.rounds).map(|_| load::run(&runtime, &many, &keys, 16, settings.time));
        let load = Load::median(rounds.collect());
        let checks = load.per_second * size as f64;
        println!("| {size} | {checks:.0} | {:?} | {:?} |", load.p50, load.p99);
    }
}

/// The server's own program as the ceiling; this crate's tasks share one thread, as its client has one.
fn highest(server: &Redis, settings: &Settings) {
    let runtime = runtime(1);
    let ours = Arc::new(runtime.block_on(async {
        let ours = Ours::new(registry(server).await, GENEROUS);
        // The script is known by then.
        ours.decide("user:1").await;
        ours
    }));
    let sent = ceiling::watch(server, || {
        runtime.block_on(ours.decide("user:1"));
    });
    println!("\n## `redis-benchmark` with the script of one check, 50 connections\n");
    println!(
        "| pipeline | calls/s | this crate with 1024 tasks | against it |\n|---|---:|---:|---:|"
    );
    let keys = load::keys(10_000);
    for pipeline in [1, 64] {
        let calls = if settings.rounds > 1 { 200_000 } else { 5_000 };
        let mut rounds = [vec![], vec![]];
        for _ in 0..settings.rounds {
            rounds[0].push(load::run(&runtime, &ours, &keys, 1024, settings.time).per_second);
            rounds[1].push(sent.per_second(server, pipeline, calls));
        }
        let [mine, most] = rounds.map(|mut rounds| {
            rounds.sort_by(f64::total_cmp);
            rounds[rounds.len() / 2]
        });
        println!(
            "| {pipeline} | {most:.0} | {mine:.0} | {:.2}× |",
            mine / most
        );
    }
}

/// What annotated functions ask: the server, or the server behind a layer.
fn install(server: &Redis) {
    let connect = || {
        let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
        Arc::new(backend.connect_blocking().expect("it is there"))
    };
    let (denials, lease) = layers();
    let builder = Registry::builder()
        .backend("redis", connect())
        .backend("denials", denials.layer(connect()).expect("a layer"))
        .backend("lease", lease.layer(connect()).expect("a layer"));
    builder.install().expect("no faults");
}

/// The layers, which know what they have counted.
fn layers() -> &'static (DenialCache, Lease) {
    static LAYERS: LazyLock<(DenialCache, Lease)> = LazyLock::new(Default::default);
    &LAYERS
}

/// Blocked threads.
fn blocked(server: &Redis, settings: &Settings) {
    println!("\n## Blocked OS threads, 10,000 keys\n");
    println!(
        "| threads, who | decisions/s | against by hand | p50 | p99 |\n|---|---:|---:|---:|---:|"
    );
    for count in [1, 64] {
        let mut rounds = [vec![], vec![]];
        for _ in 0..settings.rounds {
            rounds[0].push(blocking::ours(count, settings.time));
            rounds[1].push(blocking::by_hand(&server.url(), count, settings.time));
        }
        let [ours, by_hand] = rounds.map(Load::median);
        row(&format!("{count}, `#[ratelimit]`"), ours, by_hand);
        row(
            &format!("{count}, blocking `redis` client"),
            by_hand,
            by_hand,
        );
    }
}
