//! Decisions in databases, side by side with a statement that is written by hand and asked once for each check.
//!
//! - here, and `by_hand`: those of SQL; `durability`: what waiting for their disks costs;
//! - `mongodb`: all of that for MongoDB.

mod by_hand;
mod durability;
mod mongodb;

use ratelimit::SqlBackend;
use ratelimit::sql::SqlBuilder;
use ratelimit_tests::servers::Folder;
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;

use crate::contenders::{Contender, GENEROUS, Ours};
use crate::side_by_side::compare;
use crate::{PATIENCE, Settings, runtime};

pub use durability::durability;
pub use mongodb::{mongodb, write_concern};

/// PostgreSQL that does not wait for the disk.
pub fn postgres(settings: &Settings) {
    let server = Postgres::start();
    let by_hand = |url: String| async move { by_hand::OfPostgres::new(&url).await };
    against("PostgreSQL", &server.url(), by_hand, settings);
}

/// MariaDB that does not wait for the disk.
pub fn mariadb(settings: &Settings) {
    let server = MariaDb::start();
    let by_hand = |url: String| async move { by_hand::OfMariaDb::new(&url).await };
    against("MariaDB", &server.url(), by_hand, settings);
}

/// A file of SQLite, whose log is written ahead.
pub fn sqlite(settings: &Settings) {
    let folder = Folder::new();
    let url = format!("sqlite://{}", folder.file("limits.db"));
    let by_hand = |url: String| async move { by_hand::OfSqlite::new(&url).await };
    against("SQLite", &url, by_hand, settings);
}

async fn ours(builder: SqlBuilder) -> Ours {
    let backend = builder.timeout(PATIENCE).connect().await;
    Ours::alone(backend.expect("it is there"), GENEROUS)
}

fn against<C: Contender, F: Future<Output = C>>(
    name: &str,
    url: &str,
    by_hand: impl FnOnce(String) -> F,
    settings: &Settings,
) {
    let runtime = runtime(2);
    let ours = runtime.block_on(ours(SqlBackend::builder(url)));
    let by_hand = runtime.block_on(by_hand(url.to_owned()));
    compare(name, &runtime, ours, by_hand, settings);
}
