//! A flood of calls that are denied.

use std::sync::Arc;

use ratelimit::layers::DenialCache;
use ratelimit::{Backend, Layer, RedisBackend, Registry};
use ratelimit_tests::servers::redis::Redis;

use crate::contenders::Ours;
use crate::{PATIENCE, Settings, load, row, runtime};

/// Each key is admitted once a minute, and asked for all the time.
const STRICT: &str = "1/m";

/// The same flood with the layer and without.
pub fn flood(server: &Redis, settings: &Settings) {
    println!("\n## Denied calls, 2 OS threads\n");
    println!(
        "| tasks, keys, who | decisions/s | against without | p50 | p99 |\n|---|---:|---:|---:|---:|"
    );
    let runtime = runtime(2);
    let connect = async || {
        let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
        let backend = backend.connect().await.expect("it is there");
        Arc::new(backend) as Arc<dyn Backend>
    };
    let ours = |backend: Arc<dyn Backend>| {
        let builder = Registry::builder().backend("redis", backend);
        let registry = builder.default_backend("redis").build();
        Arc::new(Ours::new(registry.expect("no faults"), STRICT))
    };
    let bare = ours(runtime.block_on(connect()));
    let cache = DenialCache::new();
    let inner = runtime.block_on(connect());
    let cached = ours(cache.layer(inner).expect("a layer"));
    for (tasks, count) in [(256, 100), (256, 10_000)] {
        let keys = load::keys(count);
        let mut rounds = [vec![], vec![]];
        for _ in 0..settings.rounds {
            rounds[0].push(load::run(&runtime, &cached, &keys, tasks, settings.time));
            rounds[1].push(load::run(&runtime, &bare, &keys, tasks, settings.time));
        }
        let [cached, bare] = rounds.map(load::Load::median);
        row(&format!("{tasks}, {count}, `DenialCache`"), cached, bare);
        row(&format!("{tasks}, {count}, without"), bare, bare);
    }
    let stats = cache.stats();
    println!(
        "\n{} answers from memory, {} from the store.",
        stats.hits(),
        stats.misses()
    );
}
