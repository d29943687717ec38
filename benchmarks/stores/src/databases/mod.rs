//! Decisions in databases, side by side with a statement that is written by hand and asked once for each check.

mod by_hand;
mod durability;

use std::sync::Arc;

use ratelimit::sql::SqlBuilder;
use ratelimit::{Registry, SqlBackend};
use ratelimit_tests::servers::Folder;
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;

use crate::contenders::{Contender, GENEROUS, Ours};
use crate::load::{self, Load};
use crate::{PATIENCE, Settings, row, runtime};

pub use durability::durability;

/// PostgreSQL that does not wait for the disk.
pub fn postgres(settings: &Settings) {
    let server = Postgres::start();
    let by_hand = |url: String| async move { by_hand::OfPostgres::new(&url).await };
    compare("PostgreSQL", &server.url(), by_hand, settings);
}

/// MariaDB that does not wait for the disk.
pub fn mariadb(settings: &Settings) {
    let server = MariaDb::start();
    let by_hand = |url: String| async move { by_hand::OfMariaDb::new(&url).await };
    compare("MariaDB", &server.url(), by_hand, settings);
}

/// A file of SQLite, whose log is written ahead.
pub fn sqlite(settings: &Settings) {
    let folder = Folder::new();
    let url = format!("sqlite://{}", folder.file("limits.db"));
    let by_hand = |url: String| async move { by_hand::OfSqlite::new(&url).await };
    compare("SQLite", &url, by_hand, settings);
}

async fn ours(builder: SqlBuilder) -> Ours {
    let backend = builder.timeout(PATIENCE).connect().await;
    let builder = Registry::builder().backend("sql", backend.expect("it is there"));
    let registry = builder.default_backend("sql").build().expect("no faults");
    Ours::new(registry, GENEROUS)
}

fn compare<C: Contender, F: Future<Output = C>>(
    name: &str,
    url: &str,
    by_hand: impl FnOnce(String) -> F,
    settings: &Settings,
) {
    let runtime = runtime(2);
    let ours = Arc::new(runtime.block_on(ours(SqlBackend::builder(url))));
    let by_hand = Arc::new(runtime.block_on(by_hand(url.to_owned())));
    for (count, tasks) in [(10_000, &[1, 16, 64, 256][..]), (1, &[1, 16, 64][..])] {
        println!("\n## {name}, {count} keys\n");
        println!(
            "| tasks, who | decisions/s | against by hand | p50 | p99 |\n|---|---:|---:|---:|---:|"
        );
        let keys = load::keys(count);
        for tasks in tasks {
            let mut rounds = [vec![], vec![]];
            for _ in 0..settings.rounds {
                rounds[0].push(load::run(&runtime, &ours, &keys, *tasks, settings.time));
                rounds[1].push(load::run(&runtime, &by_hand, &keys, *tasks, settings.time));
            }
            let [ours, by_hand] = rounds.map(Load::median);
            row(&format!("{tasks}, {}", Ours::NAME), ours, by_hand);
            row(&format!("{tasks}, {}", C::NAME), by_hand, by_hand);
        }
    }
}
