//! MySQL and MariaDB: one trip of several statements locks the rows of its keys in order, reads the clock then, decides, and
//! writes.
//!
//! A row that is not there is added without a state first, as that locks it; under `READ COMMITTED` nothing else is locked. The
//! statements are text, as several cannot be prepared together: what is in it are numbers, digits and [escaped](crate::names) names.

use core::fmt::Write as _;
use core::mem;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ratelimit_core::{BoxFuture, Timestamp};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Executor as _, MySql, Row as _};

use super::connections::Connections;
use super::dialect;
use super::errors::Failure;
use super::hex::hex;
use super::shape::Shape;
use super::statement::Steps;
use super::store::{
    Asked, Changing, Page, States, Table, Told, VERSION, VERSION_ROW, in_order, instant, split,
};

/// A database of MySQL or MariaDB.
pub(super) struct MySqlStore {
    pub(super) connections: Connections<MySql>,
    table: Table,
    steps: Mutex<HashMap<Shape, Arc<Decision>>>,
}

/// The text that decides checks of a shape, around what is asked.
#[derive(Debug)]
struct Decision {
    columns: String,
    steps: String,
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
  expires BIGINT NOT NULL
) ENGINE = InnoDB;
INSERT INTO {table} (name, state, expires) VALUES ('{VERSION_ROW}', X'{VERSION:02x}', {})
  ON DUPLICATE KEY UPDATE name = name;
",
        i64::MAX
    )
}

impl MySqlStore {
    pub(super) fn new(connections: Connections<MySql>, table: Table) -> Self {
        Self {
            connections,
            table,
            steps: Mutex::default(),
        }
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
             SET @ratelimit_now = {}; ",
            self.now()
        )
    }

    fn steps(&self, shape: Shape) -> Arc<Decision> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut steps = steps;
        Arc::clone(
            steps
                .entry(shape)
                .or_insert_with(|| Arc::new(decision(shape))),
        )
    }

    pub(super) async fn decide(
        &self,
        shape: Shape,
        mut asked: Vec<Asked>,
    ) -> Result<Vec<Told>, Failure> {
        // Their order is that in which rows are locked.
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_by(|one, other| asked[*one].name.cmp(&asked[*other].name));
        asked.sort_by(|one, other| one.name.cmp(&other.name));
        let table = self.table();
        let steps = self.steps(shape);
        let ask = json(&asked);
        let told = format!(
            "SELECT ask.*, s.state, CAST(s.expires AS DECIMAL(40, 0)) AS expires, \
               CAST(@ratelimit_now AS DECIMAL(40, 0)) AS now \
             FROM JSON_TABLE(@ratelimit_ask, '$[*]' COLUMNS ({})) AS ask \
             STRAIGHT_JOIN {table} AS s ON s.name = CONVERT(ask.name USING ascii) COLLATE ascii_bin",
            steps.columns
        );
        let told = steps.steps.replace("{seen}", &told);
        let text = format!(
            "{BEGIN}{}SET @ratelimit_ask = '{ask}'; \
             SELECT name, CAST(now AS SIGNED), CAST(n AS SIGNED), state FROM ({told}) AS told; \
             INSERT INTO {table} (name, state, expires) SELECT name, next_state, next_expires FROM ({}) AS next \
             ON DUPLICATE KEY UPDATE state = VALUES(state), expires = VALUES(expires); COMMIT",
            self.lock(asked.iter().map(|it| &it.name)),
            next(shape, &told),
        );
        let count = asked.len();
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let rows = transact(connection, text).await?;
                    let mut told: HashMap<String, Told> = HashMap::with_capacity(count);
                    for row in rows {
                        let one =
                            Told::new(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, true)?;
                        told.insert(row.try_get(0)?, one);
                    }
                    let mut answers: Vec<Option<Told>> = vec![None; count];
                    for (place, asked) in order.into_iter().zip(&asked) {
                        answers[place] = told.remove(&asked.name);
                    }
                    let answers: Option<Vec<_>> = answers.into_iter().collect();
                    answers.ok_or_else(|| sqlx::Error::Protocol("a row is missing".to_owned()))
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
            "{BEGIN}{}SELECT name, state, CAST(@ratelimit_now AS SIGNED) FROM {table} WHERE name IN ({})",
            self.lock(sorted.iter()),
            list(&sorted)
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let rows = transact(connection, text).await?;
                    let (now, found) = states(rows)?;
                    let (done, changes) = changing(now, &in_order(&names, found));
                    if changes.is_empty() {
                        transact(connection, "ROLLBACK".to_owned()).await?;
                        return Ok(done);
                    }
                    let (stored, removed) = split(changes);
                    let mut text = String::new();
                    // Nothing can go wrong with strings.
                    for it in stored {
                        if !text.is_empty() && text.len() + 2 * it.state.len() > LONGEST_TEXT {
                            transact(connection, mem::take(&mut text)).await?;
                        }
                        let _ = write!(
                            text,
                            "UPDATE {table} SET state = X'{}', expires = {} WHERE name = '{}'; ",
                            hex(&it.state),
                            it.expires,
                            it.name
                        );
                    }
                    if !removed.is_empty() {
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
            "SELECT s.name, s.state, clock.now FROM (SELECT CAST({} AS SIGNED) AS now) AS clock \
             LEFT JOIN {} AS s ON s.name IN ({})",
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

/// The rows that some statements answer. A transaction that fails in the middle is taken back.
async fn transact(
    connection: &mut MySqlConnection,
    text: String,
) -> Result<Vec<MySqlRow>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(text))
        .fetch_all(&mut *connection)
        .await;
    if let Err(sqlx::Error::Database(_)) = &rows {
        connection.execute("ROLLBACK").await?;
    }
    rows
}

fn states(rows: Vec<MySqlRow>) -> Result<(Timestamp, States), sqlx::Error> {
    let mut now = Timestamp::default();
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        now = instant(row.try_get(2)?)?;
        if let Some(name) = row.try_get(0)? {
            found.push((name, row.try_get(1)?));
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

fn decision(shape: Shape) -> Decision {
    let mut columns = "name VARCHAR(255) PATH '$[0]'".to_owned();
    let mut place = 0;
    let mut number = |name: &str| {
        place += 1;
        // Nothing can go wrong with strings.
        let _ = write!(columns, ", {name} DECIMAL(40, 0) PATH '$[{place}]'");
    };
    for name in ["asked", "takes", "delay"] {
        number(name);
    }
    for rate in 1..=shape.rates {
        for name in ["p", "q", "f", "c"] {
            number(&format!("{name}{rate}"));
        }
    }
    let steps = steps(shape);
    let read = steps.read("({seen})");
    let used = steps.used(&format!("({read})"));
    Decision {
        columns,
        steps: steps.told(&format!("({used})")),
    }
}

fn next(shape: Shape, told: &str) -> String {
    steps(shape).next(&format!("({told})"))
}

fn steps(shape: Shape) -> Steps<'static> {
    Steps {
        dialect: &dialect::MySql,
        shape,
    }
}

/// A list of lists of numbers in quotes, as numbers of JSON may be rounded.
fn json(asked: &[Asked]) -> String {
    let mut text = "[".to_owned();
    for (index, it) in asked.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // Nothing can go wrong with strings.
        let _ = write!(
            text,
            "{comma}[\"{}\",\"{}\",\"{}\",\"{}\"",
            it.name, it.count, it.takes, it.delay
        );
        for rate in &it.numbers {
            let _ = write!(
                text,
                ",\"{}\",\"{}\",\"{}\",\"{}\"",
                rate.period, rate.q, rate.capacity, rate.takes
            );
        }
        text.push(']');
    }
    text.push(']');
    text
}
