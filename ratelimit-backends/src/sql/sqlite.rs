//! SQLite: the shared step in a transaction that has the only right to write. The clock is this machine's, which all processes
//! that have the file share; it is read when the right to write is had.

use core::fmt::Write as _;
use core::time::Duration;

use ratelimit_core::{BoxFuture, Clock as _, SystemClock, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqlSafeStr as _, SqlStr, Sqlite};

use super::connections::Connections;
use super::errors::Failure;
use super::hex::hex;
use super::store::{Changing, Page, Table, VERSION, VERSION_ROW, in_order, split};

/// A file of SQLite.
pub(super) struct SqliteStore {
    pub(super) connections: Connections<Sqlite>,
    table: Table,
}

/// All that there is to say is said in the options.
pub(super) fn welcome(
    _: &mut SqliteConnection,
    _: Duration,
) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async { Ok(()) })
}

/// What makes the table.
pub(super) fn schema(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (
  name TEXT NOT NULL PRIMARY KEY,
  state BLOB NOT NULL,
  expires INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO {table} (name, state, expires) VALUES ('{VERSION_ROW}', X'{VERSION:02x}', {})
  ON CONFLICT (name) DO NOTHING;
",
        i64::MAX
    )
}

/// A list that `json_each` reads.
fn list(names: &[String]) -> String {
    let names = names.iter().map(|name| quoted(name));
    format!("[{}]", names.collect::<Vec<_>>().join(","))
}

/// A name as a text of JSON. Ours need no escape, but anybody may have written a row.
fn quoted(name: &str) -> String {
    let mut text = "\"".to_owned();
    for letter in name.chars() {
        match letter {
            '"' | '\\' | '\0'..=' ' => {
                // Nothing can go wrong with a string.
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

fn states(rows: Vec<SqliteRow>) -> Result<Vec<(String, Vec<u8>)>, sqlx::Error> {
    let row = |row: SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.into_iter().map(row).collect()
}

impl SqliteStore {
    pub(super) fn new(connections: Connections<Sqlite>, table: Table) -> Self {
        Self { connections, table }
    }

    fn sql(&self, text: &str) -> SqlStr {
        AssertSqlSafe(text.replace("{table}", &self.table.name)).into_sql_str()
    }

    fn read(&self) -> SqlStr {
        self.sql("SELECT name, state FROM {table} WHERE name IN (SELECT value FROM json_each(?1))")
    }

    pub(super) async fn change<T: Send + 'static>(
        &self,
        names: Vec<String>,
        changing: Changing<T>,
    ) -> Result<T, Failure> {
        let (read, table) = (self.read(), self.table.clone());
        let store = self.sql(
            "INSERT INTO {table} (name, state, expires) \
             SELECT value ->> 0, unhex(value ->> 1), value ->> 2 FROM json_each(?1) WHERE true \
             ON CONFLICT (name) DO UPDATE SET state = excluded.state, expires = excluded.expires",
        );
        let remove =
            self.sql("DELETE FROM {table} WHERE name IN (SELECT value FROM json_each(?1))");
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                    let now = now(&table);
                    let query = sqlx::query(read).bind(list(&names));
                    let found = states(query.fetch_all(&mut *transaction).await?)?;
                    let (done, changes) = changing(now, &in_order(&names, found));
                    if changes.is_empty() {
                        transaction.rollback().await?;
                        return Ok(done);
                    }
                    let (stored, removed) = split(changes);
                    if !stored.is_empty() {
                        let rows = stored.iter().map(|it| {
                            format!("[\"{}\",\"{}\",{}]", it.name, hex(&it.state), it.expires)
                        });
                        let rows = format!("[{}]", rows.collect::<Vec<_>>().join(","));
                        sqlx::query(store)
                            .bind(rows)
                            .execute(&mut *transaction)
                            .await?;
                    }
                    if !removed.is_empty() {
                        let query = sqlx::query(remove).bind(list(&removed));
                        query.execute(&mut *transaction).await?;
                    }
                    transaction.commit().await?;
                    Ok(done)
                })
            })
            .await
    }

    pub(super) async fn look(
        &self,
        names: Vec<String>,
    ) -> Result<(Timestamp, Vec<Vec<u8>>), Failure> {
        let (read, table) = (self.read(), self.table.clone());
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(read).bind(list(&names));
                    let found = states(query.fetch_all(connection).await?)?;
                    Ok((now(&table), in_order(&names, found)))
                })
            })
            .await
    }

    pub(super) async fn remove(&self, names: Vec<String>) -> Result<(), Failure> {
        let remove =
            self.sql("DELETE FROM {table} WHERE name IN (SELECT value FROM json_each(?1))");
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(remove).bind(list(&names));
                    query.execute(connection).await.map(drop)
                })
            })
            .await
    }

    pub(super) async fn page(&self, behind: String, rows: u32) -> Result<Page, Failure> {
        let page = self.sql(
            "SELECT name, expires FROM {table} WHERE name > ?1 AND name <> ?2 ORDER BY name LIMIT ?3",
        );
        let table = self.table.clone();
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let now = i64::try_from(now(&table).as_nanos()).unwrap_or(i64::MAX);
                    let query = sqlx::query(page).bind(behind).bind(VERSION_ROW);
                    let rows = query.bind(rows).fetch_all(connection).await?;
                    let row = |row: SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, now));
                    Page::of(rows.into_iter().map(row))
                })
            })
            .await
    }

    pub(super) async fn expire(&self, names: Vec<String>, now: i64) -> Result<u64, Failure> {
        let expire = self.sql(
            "DELETE FROM {table} WHERE name IN (SELECT value FROM json_each(?1)) AND expires <= ?2",
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(expire).bind(list(&names)).bind(now);
                    Ok(query.execute(connection).await?.rows_affected())
                })
            })
            .await
    }

    pub(super) async fn version(&self) -> Result<String, Failure> {
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let version = "SELECT sqlite_version()";
                    sqlx::query_scalar(version).fetch_one(connection).await
                })
            })
            .await
    }

    pub(super) async fn migrate(&self) -> Result<(), Failure> {
        let make = AssertSqlSafe(schema(&self.table.name));
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
                    sqlx::raw_sql(make).execute(&mut *transaction).await?;
                    transaction.commit().await
                })
            })
            .await
    }

    pub(super) async fn table_version(&self) -> Result<Option<Vec<u8>>, Failure> {
        let version = self.sql("SELECT state FROM {table} WHERE name = ?1");
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query_scalar(version).bind(VERSION_ROW);
                    query.fetch_optional(connection).await
                })
            })
            .await
    }
}

fn now(table: &Table) -> Timestamp {
    match &table.clock {
        Some(clock) => clock.now(),
        None => SystemClock.now(),
    }
}
