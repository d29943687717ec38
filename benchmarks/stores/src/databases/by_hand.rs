//! GCRA as it is usually written by hand: one statement for each check, through a pool of `sqlx` that does not ask whether its
//! connections still work.

use core::time::Duration;

use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::PATIENCE;
use crate::contenders::Contender;

/// Nanoseconds between two units, and how many may come at once.
const INTERVAL: i64 = 1_000;
const BURST: i64 = 1_000_000;

/// As many as there are processors is too few for a server that waits for its log.
const CONNECTIONS: u32 = 16;

pub struct OfPostgres(PgPool);

impl OfPostgres {
    pub async fn new(url: &str) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE);
        let pool = pool.connect(url).await.expect("it is there");
        let table =
            "CREATE TABLE IF NOT EXISTS by_hand (name text PRIMARY KEY, tat bigint NOT NULL)";
        sqlx::query(table).execute(&pool).await.expect("a table");
        Self(pool)
    }
}

impl Contender for OfPostgres {
    const NAME: &'static str = "by hand";

    async fn decide(&self, key: &str) -> bool {
        let decision = "
INSERT INTO by_hand AS it (name, tat)
VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint + $2)
ON CONFLICT (name) DO UPDATE SET tat = greatest(it.tat, excluded.tat - $2) + $2
WHERE greatest(it.tat, excluded.tat - $2) + $2 - $2 * $3 <= excluded.tat - $2
RETURNING tat";
        let query = sqlx::query_scalar::<_, i64>(decision).bind(key);
        let tat = query.bind(INTERVAL).bind(BURST).fetch_optional(&self.0);
        tat.await.expect("it answers").is_some()
    }
}

pub struct OfMariaDb(MySqlPool);

impl OfMariaDb {
    pub async fn new(url: &str) -> Self {
        let pool = MySqlPoolOptions::new()
            .max_connections(CONNECTIONS)
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE);
        let pool = pool.connect(url).await.expect("it is there");
        let table = "CREATE TABLE IF NOT EXISTS by_hand (name VARCHAR(255) PRIMARY KEY, tat BIGINT NOT NULL, ok BOOLEAN NOT NULL)";
        sqlx::query(table).execute(&pool).await.expect("a table");
        Self(pool)
    }
}

impl Contender for OfMariaDb {
    const NAME: &'static str = "by hand";

    async fn decide(&self, key: &str) -> bool {
        let decision = "
INSERT INTO by_hand (name, tat, ok)
VALUES (?, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', SYSDATE(6)) * 1000 + ?, TRUE)
ON DUPLICATE KEY UPDATE
ok = (GREATEST(tat, VALUES(tat) - ?) + ? - ? <= VALUES(tat) - ?),
tat = IF(ok, GREATEST(tat, VALUES(tat) - ?) + ?, tat)
RETURNING ok";
        let mut query = sqlx::query_scalar::<_, bool>(decision).bind(key);
        for number in [
            INTERVAL,
            INTERVAL,
            INTERVAL,
            INTERVAL * BURST,
            INTERVAL,
            INTERVAL,
            INTERVAL,
        ] {
            query = query.bind(number);
        }
        query.fetch_one(&self.0).await.expect("it answers")
    }
}

pub struct OfSqlite(SqlitePool);

impl OfSqlite {
    pub async fn new(url: &str) -> Self {
        let options: SqliteConnectOptions = url.parse().expect("a URL");
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        // There is one writer, and whoever waits for it in a queue waits less than who looks again and again.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options).await.expect("it is there");
        let table = "CREATE TABLE IF NOT EXISTS by_hand (name TEXT PRIMARY KEY, tat INTEGER NOT NULL) WITHOUT ROWID";
        sqlx::query(table).execute(&pool).await.expect("a table");
        Self(pool)
    }
}

impl Contender for OfSqlite {
    const NAME: &'static str = "by hand";

    async fn decide(&self, key: &str) -> bool {
        let decision = "
INSERT INTO by_hand (name, tat)
VALUES (?1, CAST(unixepoch('now', 'subsec') * 1000000000 AS INTEGER) + ?2)
ON CONFLICT (name) DO UPDATE SET tat = max(tat, excluded.tat - ?2) + ?2
WHERE max(tat, excluded.tat - ?2) + ?2 - ?2 * ?3 <= excluded.tat - ?2
RETURNING tat";
        let query = sqlx::query_scalar::<_, i64>(decision).bind(key);
        let tat = query.bind(INTERVAL).bind(BURST).fetch_optional(&self.0);
        tat.await.expect("it answers").is_some()
    }
}
