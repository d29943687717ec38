//! MySQL and MariaDB: one trip of several statements locks the rows of its keys in order, reads the clock then, decides, and
//! writes.
//!
//! A row that is not there is added without a state first, as that locks it; under `READ COMMITTED` nothing else is locked. The
//! statements are text, as several cannot be prepared together: what is in it are numbers, digits and [escaped](crate::names) names.

mod decision;

use core::fmt::Write as _;
use core::mem;
use core::time::Duration;
use std::collections::HashMap;

use decision::NOW;
use futures_util::TryStreamExt as _;
use ratelimit_core::{BoxFuture, Timestamp};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Either, Executor as _, MySql, Row as _};

use super::connections::Connections;
use super::errors::Failure;
use super::hex::hex;
use super::row::{self, RATES, Row, columns_of, each_column};
use super::store::{
    Asked, Change, Changing, Page, States, Table, Told, VERSION, VERSION_ROW, in_order, instant,
    split, wrong,
};
use crate::shape::Shape;

/// A database of MySQL or MariaDB.
pub(super) struct MySqlStore {
    pub(super) connections: Connections<MySql>,
    table: Table,
}

/// What a connection of our own is told first: nobody waits for a lock longer than the least that can be said.
pub(super) fn welcome(
    connection: &mut MySqlConnection,
    _: Duration,
) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let told = "SET SESSION innodb_lock_wait_timeout = 1";
        connection.execute(told).await.map(drop)
    })
}

/// Servers refuse texts that are longer than they want; this is less than any of them does by default.
const LONGEST_TEXT: usize = 1 << 20;

const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION; ";

/// What makes the table.
pub(super) fn schema(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (
  name VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  state MEDIUMBLOB NOT NULL,
  expires BIGINT NOT NULL,
  a SMALLINT{}
) ENGINE = InnoDB;
INSERT INTO {table} (name, state, expires) VALUES ('{VERSION_ROW}', X'{VERSION:02x}', {})
  ON DUPLICATE KEY UPDATE name = name;
",
        decision::schema(),
        i64::MAX
    )
}

impl MySqlStore {
    pub(super) fn new(connections: Connections<MySql>, table: Table) -> Self {
        Self { connections, table }
    }

    fn table(&self) -> &str {
        &self.table.name
    }

    /// The time in nanoseconds, of an injected clock or the server's.
    fn now(&self) -> String {
        match self.table.now() {
            Some(now) => now.to_string(),
            None => "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) * 1000".to_owned(),
        }
    }

    /// Adds those that are not there, and has all of them locked.
    fn lock(&self, names: impl Iterator<Item: AsRef<str>>) -> String {
        let rows = names.map(|name| format!("('{}', '', 0)", name.as_ref()));
        let rows = rows.collect::<Vec<_>>().join(", ");
        let table = self.table();
        format!(
            "INSERT INTO {table} (name, state, expires) VALUES {rows} ON DUPLICATE KEY UPDATE name = {table}.name; \
             SET {NOW} = {}; ",
            self.now()
        )
    }

    /// What is stored of keys, and the time.
    fn read(&self, rates: usize) -> String {
        let columns = each_column(rates, |column| format!(", {column}"));
        format!(
            "SELECT name, CAST({NOW} AS SIGNED), state, a{columns} FROM {}",
            self.table()
        )
    }

    pub(super) async fn decide(
        &self,
        shape: Shape,
        asked: Vec<Asked>,
    ) -> Result<Vec<Told>, Failure> {
        let (updates, statements) = decision::updates(self.table(), shape, &asked);
        let names: Vec<_> = asked.iter().map(|it| &it.name).collect();
        let text = format!(
            "{BEGIN}{}{} WHERE name IN ({}); {updates}COMMIT",
            self.lock(names.iter()),
            self.read(shape.rates),
            list(&names)
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let (rows, counts) = transact(connection, text).await?;
                    let before = counts.len().saturating_sub(statements + 1);
                    let changed: u64 = counts.iter().skip(before).take(statements).sum();
                    told(shape, &asked, rows, changed)
                })
            })
            .await
    }

    pub(super) async fn change<T: Send + 'static>(
        &self,
        names: Vec<String>,
        changing: Changing<T>,
    ) -> Result<T, Failure> {
        let table = self.table().to_owned();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        let text = format!(
            "{BEGIN}{}{} WHERE name IN ({})",
            self.lock(sorted.iter()),
            self.read(RATES),
            list(&sorted)
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let (rows, _) = transact(connection, text).await?;
                    let (now, found) = states(rows)?;
                    let (done, changes) = changing(now, &in_order(&names, found));
                    if changes.is_empty() {
                        connection.execute("ROLLBACK").await?;
                        return Ok(done);
                    }
                    let (stored, removed) = split(changes);
                    let mut text = String::new();
                    for it in stored {
                        if !text.is_empty() && text.len() + 2 * it.state.len() > LONGEST_TEXT {
                            transact(connection, mem::take(&mut text)).await?;
                        }
                        write_row(&mut text, &table, &it);
                    }
                    if !removed.is_empty() {
                        // Nothing can go wrong with strings.
                        let _ = write!(
                            text,
                            "DELETE FROM {table} WHERE name IN ({}); ",
                            list(&removed)
                        );
                    }
                    text.push_str("COMMIT");
                    transact(connection, text).await?;
                    Ok(done)
                })
            })
            .await
    }

    pub(super) async fn look(
        &self,
        names: Vec<String>,
    ) -> Result<(Timestamp, Vec<Vec<u8>>), Failure> {
        let look = format!(
            "SELECT s.name, clock.now, s.state, s.a{} FROM (SELECT CAST({} AS SIGNED) AS now) AS clock \
             LEFT JOIN {} AS s ON s.name IN ({})",
            each_column(RATES, |column| format!(", s.{column}")),
            self.now(),
            self.table(),
            list(&names)
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let rows = sqlx::raw_sql(AssertSqlSafe(look))
                        .fetch_all(connection)
                        .await?;
                    let (now, found) = states(rows)?;
                    Ok((now, in_order(&names, found)))
                })
            })
            .await
    }

    async fn execute(&self, text: String) -> Result<u64, Failure> {
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let done = sqlx::raw_sql(AssertSqlSafe(text))
                        .execute(connection)
                        .await?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    pub(super) async fn remove(&self, mut names: Vec<String>) -> Result<(), Failure> {
        names.sort_unstable();
        let (table, names) = (self.table(), list(&names));
        let text = format!("DELETE FROM {table} WHERE name IN ({names})");
        self.execute(text).await.map(drop)
    }

    pub(super) async fn page(&self, behind: String, rows: u32) -> Result<Page, Failure> {
        let page = format!(
            "SELECT name, expires, CAST({} AS SIGNED) FROM {} WHERE name > {} AND name <> '{VERSION_ROW}' \
             ORDER BY name LIMIT {rows}",
            self.now(),
            self.table(),
            quoted(&behind),
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let rows = sqlx::raw_sql(AssertSqlSafe(page))
                        .fetch_all(connection)
                        .await?;
                    let row =
                        |row: MySqlRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
                    Page::of(rows.into_iter().map(row))
                })
            })
            .await
    }

    pub(super) async fn expire(&self, names: Vec<String>, now: i64) -> Result<u64, Failure> {
        let (table, names) = (self.table(), list(&names));
        let text = format!("DELETE FROM {table} WHERE name IN ({names}) AND expires <= {now}");
        self.execute(text).await
    }

    pub(super) async fn version(&self) -> Result<String, Failure> {
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    sqlx::query_scalar("SELECT CAST(VERSION() AS CHAR)")
                        .fetch_one(connection)
                        .await
                })
            })
            .await
    }

    pub(super) async fn migrate(&self) -> Result<(), Failure> {
        self.execute(schema(self.table())).await.map(drop)
    }

    pub(super) async fn table_version(&self) -> Result<Option<Vec<u8>>, Failure> {
        let version = format!(
            "SELECT state FROM {} WHERE name = '{VERSION_ROW}'",
            self.table()
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let row = sqlx::raw_sql(AssertSqlSafe(version))
                        .fetch_optional(connection)
                        .await?;
                    row.map(|row| row.try_get(0)).transpose()
                })
            })
            .await
    }
}

/// What a statement says to each.
fn told(
    shape: Shape,
    asked: &[Asked],
    rows: Vec<MySqlRow>,
    changed: u64,
) -> Result<Vec<Told>, sqlx::Error> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let name: String = row.try_get(0)?;
        let now: i64 = row.try_get(1)?;
        found.insert(name, (now, row::read(&row, 2, shape.rates)?));
    }
    let mut taken = 0;
    let answers = asked.iter().map(|it| {
        let (now, row) = found
            .remove(&it.name)
            .ok_or_else(|| wrong("a row is missing"))?;
        let admitted = row.admits(shape, it, now);
        taken += u64::from(admitted.is_some_and(|it| it > 0));
        Told::new(now, admitted, row.bytes())
    });
    let answers: Vec<_> = answers.collect::<Result<_, sqlx::Error>>()?;
    // The statement's arithmetic is another than this one's: what it charged is not to be believed.
    if taken == changed {
        Ok(answers)
    } else {
        Err(wrong("another number of keys was charged than is admitted"))
    }
}

fn write_row(text: &mut String, table: &str, change: &Change) {
    let row = Row::of(&change.state);
    let number = |it: Option<i64>| it.map_or("NULL".to_owned(), |it| it.to_string());
    // Nothing can go wrong with strings.
    let _ = write!(
        text,
        "UPDATE {table} SET state = X'{}', expires = {}, a = {}",
        hex(&row.state),
        change.expires,
        number(row.algorithm.map(i64::from))
    );
    for (place, column) in columns_of(RATES).enumerate() {
        let rate = row.rates.get(place / 4);
        let value = rate.map(|it| [it.period, it.w, it.r, it.o][place % 4]);
        let _ = write!(text, ", {column} = {}", number(value));
    }
    let _ = write!(text, " WHERE name = '{}'; ", change.name);
}

/// The rows that some statements answer, and how many rows each changed. A transaction that fails in the middle is taken back.
async fn transact(
    connection: &mut MySqlConnection,
    text: String,
) -> Result<(Vec<MySqlRow>, Vec<u64>), sqlx::Error> {
    let done = all(connection, text).await;
    if let Err(sqlx::Error::Database(_)) = &done {
        connection.execute("ROLLBACK").await?;
    }
    done
}

async fn all(
    connection: &mut MySqlConnection,
    text: String,
) -> Result<(Vec<MySqlRow>, Vec<u64>), sqlx::Error> {
    let (mut rows, mut counts) = (Vec::new(), Vec::new());
    let mut answers = sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(connection);
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Left(done) => counts.push(done.rows_affected()),
            Either::Right(row) => rows.push(row),
        }
    }
    Ok((rows, counts))
}

fn states(rows: Vec<MySqlRow>) -> Result<(Timestamp, States), sqlx::Error> {
    let mut now = Timestamp::default();
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        now = instant(row.try_get(1)?)?;
        if let Some(name) = row.try_get(0)? {
            found.push((name, row::read(&row, 2, RATES)?.bytes()));
        }
    }
    Ok((now, found))
}

fn list(names: &[impl AsRef<str>]) -> String {
    let names = names.iter().map(|name| quoted(name.as_ref()));
    names.collect::<Vec<_>>().join(", ")
}

/// A name as text. Ours need no escape, but anybody may have written a row.
fn quoted(name: &str) -> String {
    let name = name.replace('\\', r"\\").replace('\'', "''");
    format!("'{name}'")
}
