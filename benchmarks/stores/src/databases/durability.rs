//! What it costs to lose less in a power cut.

use ratelimit::SqlBackend;
use ratelimit::sql::SqlBuilder;
use ratelimit_tests::servers::Folder;
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::runtime::Runtime;

use super::ours;
use crate::side_by_side::{setting, settings_head};
use crate::{Settings, runtime};

/// Each setting with one task, and with 64.
pub fn durability(settings: &Settings) {
    let runtime = runtime(2);
    println!("\n## What waiting for the disk costs, 10,000 keys\n");
    settings_head();
    let server = Postgres::with(&["fsync=on", "full_page_writes=on", "synchronous_commit=on"]);
    let measure = |name, builder| measure(name, &runtime, builder, settings);
    measure(
        "PostgreSQL, `synchronous_commit=on`",
        SqlBackend::builder(server.url()),
    );
    let server = Postgres::with(&["fsync=on", "full_page_writes=on", "synchronous_commit=off"]);
    measure(
        "PostgreSQL, `synchronous_commit=off`",
        SqlBackend::builder(server.url()),
    );
    let unlogged = SqlBackend::builder(server.url()).table("forgetful");
    let schema = unlogged.schema().expect("statements");
    server.ask(&schema);
    server.ask("ALTER TABLE forgetful SET UNLOGGED");
    measure("PostgreSQL, an `UNLOGGED` table", unlogged.migrate(false));
    for (setting, name) in [
        (
            "--innodb-flush-log-at-trx-commit=1",
            "MariaDB, `innodb_flush_log_at_trx_commit=1`",
        ),
        ("--innodb-flush-log-at-trx-commit=2", "MariaDB, `=2`"),
        ("--innodb-flush-log-at-trx-commit=0", "MariaDB, `=0`"),
    ] {
        let server = MariaDb::with(&[setting]);
        measure(name, SqlBackend::builder(server.url()));
    }
    for (journal, synchronous, name) in [
        (
            SqliteJournalMode::Delete,
            SqliteSynchronous::Full,
            "SQLite, a rollback journal, `synchronous=FULL`",
        ),
        (
            SqliteJournalMode::Wal,
            SqliteSynchronous::Full,
            "SQLite, WAL, `synchronous=FULL`",
        ),
        (
            SqliteJournalMode::Wal,
            SqliteSynchronous::Normal,
            "SQLite, WAL, `synchronous=NORMAL` (default)",
        ),
        (
            SqliteJournalMode::Wal,
            SqliteSynchronous::Off,
            "SQLite, WAL, `synchronous=OFF`",
        ),
    ] {
        let folder = Folder::new();
        let options = SqliteConnectOptions::new()
            .filename(folder.file("limits.db"))
            .create_if_missing(true)
            .journal_mode(journal)
            .synchronous(synchronous);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false);
        let pool = runtime.block_on(async { pool.connect_lazy_with(options) });
        measure(name, SqlBackend::with_sqlite(pool));
    }
}

fn measure(name: &str, runtime: &Runtime, builder: SqlBuilder, settings: &Settings) {
    setting(name, runtime, runtime.block_on(ours(builder)), settings);
}
