//! [`Target`]: the database as the user names it, and how it is reached.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use ratelimit_core::Error;

use super::connections::{Bounds, Connections, Source};
use super::store::{Store, Table};
use crate::checks::wrong;

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Database {
    /// PostgreSQL 12 or later.
    #[cfg(feature = "postgres")]
    Postgres,
    /// MySQL 8.0.19 or later, or MariaDB 10.6 or later.
    #[cfg(feature = "mysql")]
    MySql,
    /// SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite,
}

impl Database {
    /// Which database a URL is of.
    fn of(url: &str) -> Result<Self, Error> {
        let scheme = url.split(':').next().unwrap_or_default();
        match scheme {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Ok(Self::Postgres),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => Ok(Self::MySql),
            #[cfg(feature = "sqlite")]
            "sqlite" => Ok(Self::Sqlite),
            #[allow(unreachable_patterns)] // with all of them
            "postgres" | "postgresql" | "mysql" | "mariadb" | "sqlite" => {
                let feature = match scheme {
                    "postgresql" => "postgres",
                    "mariadb" => "mysql",
                    other => other,
                };
                Err(wrong(format!(
                    "a URL with `{scheme}:` needs the feature `{feature}`"
                )))
            }
            // What is no URL may be a password.
            _ => Err(wrong(
                "the URL has to begin with `postgres://`, `mysql://` or `sqlite:`",
            )),
        }
    }

    /// The statements that make a table.
    pub(super) fn schema(self, table: &str) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => super::postgres::schema(table),
            #[cfg(feature = "mysql")]
            Self::MySql => super::mysql::schema(table),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => super::sqlite::schema(table),
        }
    }
}

#[derive(Clone)]
pub(super) enum Target {
    Url(String),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "postgres")]
    OwnPostgres(Arc<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
    #[cfg(feature = "mysql")]
    OwnMySql(Arc<sqlx::mysql::MySqlConnectOptions>),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "sqlite")]
    OwnSqlite(Arc<sqlx::sqlite::SqliteConnectOptions>),
}

impl Target {
    pub(super) fn database(&self) -> Result<Database, Error> {
        match self {
            Self::Url(url) => Database::of(url),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) | Self::OwnPostgres(_) => Ok(Database::Postgres),
            #[cfg(feature = "mysql")]
            Self::MySql(_) | Self::OwnMySql(_) => Ok(Database::MySql),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) | Self::OwnSqlite(_) => Ok(Database::Sqlite),
        }
    }

    /// The same with connections of its own.
    pub(super) fn bridged(&self) -> Self {
        match self {
            Self::Url(url) => Self::Url(url.clone()),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Self::OwnPostgres(pool.connect_options()),
            #[cfg(feature = "postgres")]
            Self::OwnPostgres(options) => Self::OwnPostgres(options.clone()),
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Self::OwnMySql(pool.connect_options()),
            #[cfg(feature = "mysql")]
            Self::OwnMySql(options) => Self::OwnMySql(options.clone()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Self::OwnSqlite(pool.connect_options()),
            #[cfg(feature = "sqlite")]
            Self::OwnSqlite(options) => Self::OwnSqlite(options.clone()),
        }
    }

    pub(super) fn store(&self, bounds: Bounds, table: Table) -> Result<Store, Error> {
        match self {
            Self::Url(url) => match Database::of(url)? {
                #[cfg(feature = "postgres")]
                Database::Postgres => Ok(postgres(Source::Own(options(url)?), bounds, table)),
                #[cfg(feature = "mysql")]
                Database::MySql => Ok(mysql(Source::Own(options(url)?), bounds, table)),
                #[cfg(feature = "sqlite")]
                Database::Sqlite => {
                    is_a_file(url)?;
                    let options = embedded(options(url)?, bounds.timeout);
                    Ok(sqlite(Source::Own(options), bounds, table))
                }
            },
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Ok(postgres(Source::Given(pool.clone()), bounds, table)),
            #[cfg(feature = "postgres")]
            Self::OwnPostgres(options) => {
                Ok(postgres(Source::Own((**options).clone()), bounds, table))
            }
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Ok(mysql(Source::Given(pool.clone()), bounds, table)),
            #[cfg(feature = "mysql")]
            Self::OwnMySql(options) => Ok(mysql(Source::Own((**options).clone()), bounds, table)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Ok(sqlite(Source::Given(pool.clone()), bounds, table)),
            #[cfg(feature = "sqlite")]
            Self::OwnSqlite(options) => Ok(sqlite(Source::Own((**options).clone()), bounds, table)),
        }
    }
}

/// What a URL says. What is wrong with it is said without repeating it.
fn options<O: FromStr<Err = sqlx::Error>>(url: &str) -> Result<O, Error> {
    url.parse()
        .map_err(|error: sqlx::Error| wrong(format!("the URL is wrong: {error}")))
}

#[cfg(feature = "postgres")]
fn postgres(source: Source<sqlx::Postgres>, bounds: Bounds, table: Table) -> Store {
    let connections = Connections::new(source, super::postgres::welcome, bounds);
    Store::Postgres(super::postgres::PostgresStore::new(connections, table))
}

#[cfg(feature = "mysql")]
fn mysql(source: Source<sqlx::MySql>, bounds: Bounds, table: Table) -> Store {
    let connections = Connections::new(source, super::mysql::welcome, bounds);
    Store::MySql(super::mysql::MySqlStore::new(connections, table))
}

#[cfg(feature = "sqlite")]
fn sqlite(source: Source<sqlx::Sqlite>, bounds: Bounds, table: Table) -> Store {
    // There is one writer at a time, whoever asks.
    let bounds = Bounds {
        connections: 1,
        ..bounds
    };
    let connections = Connections::new(source, super::sqlite::welcome, bounds);
    Store::Sqlite(super::sqlite::SqliteStore::new(connections, table))
}

/// A database in memory would be another one for each connection, and so for callers that block.
#[cfg(feature = "sqlite")]
fn is_a_file(url: &str) -> Result<(), Error> {
    if url.contains(":memory:")
        || url.contains("mode=memory")
        || url == "sqlite:"
        || url == "sqlite://"
    {
        let message = "SQLite in memory is another database for each connection: name a file, or use `MemoryBackend`";
        return Err(wrong(message));
    }
    Ok(())
}

/// A log that is written ahead is what lets several processes have one file, and a commit not wait for the disk.
#[cfg(feature = "sqlite")]
fn embedded(
    options: sqlx::sqlite::SqliteConnectOptions,
    timeout: core::time::Duration,
) -> sqlx::sqlite::SqliteConnectOptions {
    use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
    options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(timeout)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a URL or a pool says besides can have a password.
        match self.database() {
            Ok(database) => database.fmt(f),
            Err(_) => f.write_str("unknown"),
        }
    }
}
