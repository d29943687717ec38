//! What is said when a database fails, and that it is used again when it is back.

use core::time::Duration;
use std::time::Instant;

use ratelimit_backends::sql::{SqlBackend, SqlBuilder};
use ratelimit_core::{
    Algorithm, Backend, Check, Decision, Error, ErrorKind, Join, KeyBuf, Policy, Sweep,
};
use ratelimit_tests::servers::faults::Faults;
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;

use super::{File, PATIENCE};

const BOUND: Duration = Duration::from_millis(500);

/// How much later than that an answer may come on a machine that does much else.
const LATE: Duration = Duration::from_secs(2);

async fn decide(backend: &SqlBackend, key: &str) -> Result<Decision, Error> {
    let policy = Policy::new("p", Algorithm::TokenBucket, "3/366d".parse().unwrap());
    let key = KeyBuf::of(key);
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    backend.decide(&[check], Join::Each).await.remove(0)
}

/// It fails in time, and says why.
async fn fails(backend: &SqlBackend, kinds: &[ErrorKind]) {
    let started = Instant::now();
    let error = decide(backend, "k").await.expect_err("nobody can decide");
    assert!(started.elapsed() < BOUND + LATE, "{error:?}");
    assert!(kinds.contains(&error.kind()), "{error:?}");
    assert!(error.is_temporary(), "{error:?}");
}

/// It decides again, as soon as it may try to.
async fn recovers(backend: &SqlBackend) {
    let started = Instant::now();
    while let Err(error) = decide(backend, "other").await {
        assert!(error.is_temporary(), "{error:?}");
        assert!(started.elapsed() < PATIENCE, "{error:?}");
        tokio::task::yield_now().await;
    }
}

async fn fails_and_recovers(server: &impl Faults, url: String) {
    let connect = SqlBackend::builder(url.clone()).timeout(PATIENCE).connect();
    connect.await.expect("it is there");
    let backend = SqlBackend::builder(url).timeout(BOUND);
    let backend = backend.connect_timeout(BOUND).lazy().unwrap();
    recovers(&backend).await;

    server.freeze();
    fails(&backend, &[ErrorKind::Timeout]).await;
    fails(&backend, &[ErrorKind::Timeout]).await;
    server.thaw();
    recovers(&backend).await;

    server.kill();
    fails(&backend, &[ErrorKind::Connection, ErrorKind::Timeout]).await;
    fails(&backend, &[ErrorKind::Connection, ErrorKind::Timeout]).await;
    server.restart();
    recovers(&backend).await;
}

#[tokio::test]
async fn postgres_is_frozen_killed_and_started_again() {
    let server = Postgres::start();
    fails_and_recovers(&server, server.url()).await;
}

#[tokio::test]
async fn mariadb_is_frozen_killed_and_started_again() {
    let server = MariaDb::start();
    fails_and_recovers(&server, server.url()).await;
}

/// Makes the table.
async fn made(url: String) {
    let backend = SqlBackend::builder(url).timeout(PATIENCE).connect().await;
    backend.expect("a table");
}

/// What is said at start-up.
async fn says(builder: SqlBuilder) -> Error {
    let error = builder.timeout(PATIENCE).connect().await;
    error.expect_err("it cannot be used")
}

#[tokio::test]
async fn a_table_that_is_missing_or_of_another_version() {
    let server = Postgres::start();
    let (maria, file) = (MariaDb::start(), File::new());
    for url in [server.url(), maria.url(), file.url()] {
        let error = says(SqlBackend::builder(&*url).migrate(false)).await;
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}: {error:?}");
        assert!(
            error.message().contains("SqlBuilder::schema"),
            "{url}: {error:?}"
        );
    }
    made(server.url()).await;
    server.ask("UPDATE ratelimit SET state = '\\x02' WHERE name = 'version'");
    let error = says(SqlBackend::builder(server.url())).await;
    assert_eq!(
        error.message(),
        "the table is of version 2, and this program knows version 1"
    );
}

/// Who fails lets go of what it has locked.
#[tokio::test]
async fn a_table_that_goes_and_comes_back() {
    let server = Postgres::start();
    let (maria, file) = (MariaDb::start(), File::new());
    for url in [server.url(), maria.url(), file.url()] {
        let backend = SqlBackend::builder(&*url).timeout(PATIENCE).connect().await;
        let backend = backend.expect("it is there");
        let drop_table = "DROP TABLE ratelimit";
        if url.starts_with("postgres") {
            server.ask(drop_table);
        } else if url.starts_with("mysql") {
            maria.ask(drop_table);
        } else {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query(drop_table).execute(&pool).await.unwrap();
        }
        for _ in 0..2 {
            let error = decide(&backend, "k").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{url}: {error:?}");
        }
        made(url.clone()).await;
        decide(&backend, "k").await.expect("a decision");
    }
}

#[tokio::test]
async fn rights_that_are_missing() {
    let server = Postgres::start();
    made(server.url()).await;
    server.ask("CREATE ROLE reader LOGIN; GRANT SELECT ON ratelimit TO reader");
    let url = server.url().replace("postgres@", "reader@");
    let error = says(SqlBackend::builder(url).migrate(false)).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    server.ask("ALTER SYSTEM SET default_transaction_read_only = on");
    server.ask("SELECT pg_reload_conf()");
    let error = says(SqlBackend::builder(server.url()).migrate(false)).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");

    let maria = MariaDb::start();
    maria.ask("CREATE USER guest IDENTIFIED BY 'word'");
    let url = maria.url().replace("root@", "guest:hidden@");
    let error = says(SqlBackend::builder(url)).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
}

#[tokio::test]
async fn the_table_is_made_by_several_at_once_and_by_hand() {
    let server = Postgres::start();
    let (maria, file) = (MariaDb::start(), File::new());
    for url in [server.url(), maria.url(), file.url()] {
        let connects = (0..6).map(|_| {
            let builder = SqlBackend::builder(&*url).timeout(PATIENCE);
            tokio::spawn(builder.connect())
        });
        let connects: Vec<_> = connects.collect();
        for connect in connects {
            connect.await.unwrap().expect("one table for all");
        }
    }
    let builder = SqlBackend::builder(server.url()).timeout(PATIENCE);
    let builder = builder.table("by_hand");
    server.ask(&builder.schema().unwrap());
    builder.migrate(false).connect().await.expect("a table");
}

#[tokio::test]
async fn rows_that_somebody_else_wrote() {
    let server = Postgres::start();
    let (maria, file) = (MariaDb::start(), File::new());
    for url in [server.url(), maria.url(), file.url()] {
        let backend = SqlBackend::builder(&*url).timeout(PATIENCE).connect().await;
        let backend = backend.expect("it is there");
        decide(&backend, "k").await.expect("a decision");
        let write =
            "INSERT INTO ratelimit (name, state, expires) VALUES ('it''s \"odd\"\\', '', 0)";
        let spoil = "UPDATE ratelimit SET state = 'no state' WHERE name LIKE '%gcra' OR name LIKE '%token%'";
        if url.starts_with("postgres") {
            server.ask(write);
            server.ask(spoil);
        } else if url.starts_with("mysql") {
            maria.ask(&write.replace('\\', "\\\\"));
            maria.ask(spoil);
        } else {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query(write).execute(&pool).await.unwrap();
            sqlx::query(spoil).execute(&pool).await.unwrap();
        }
        let error = decide(&backend, "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{url}: {error:?}");
        let swept = backend.sweep(Sweep::new().with_batch(1)).await;
        let swept = swept.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        assert_eq!((swept.removed, swept.kept), (1, 1), "{url}");
    }
}

#[test]
fn options_that_cannot_be() {
    let file = File::new();
    let with = || SqlBackend::builder(file.url());
    for (builder, says) in [
        (SqlBackend::builder("sqlite::memory:"), "name a file"),
        (SqlBackend::builder("secret@host"), "has to begin with"),
        (with().timeout(Duration::ZERO), "a timeout of zero"),
        (with().connections(0), "connections is 0"),
        (with().table("a; DROP TABLE b"), "letters, digits"),
        (with().table("a.b.c"), "letters, digits"),
        (with().prefix("it's"), "the prefix is"),
        (with().prefix("p".repeat(96)), "95 letters"),
    ] {
        let error = builder.lazy().expect_err(says);
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
        assert!(error.message().contains(says), "{error:?}");
        assert!(!error.message().contains("secret"), "{error:?}");
    }
}
