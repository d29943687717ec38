//! PostgreSQL: one [statement](decision) locks the rows of its keys in order, reads the clock then, decides, and writes.
//!
//! Under `READ COMMITTED`, a row that is waited for is read as the one before left it.

mod decision;

use core::fmt::Write as _;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ratelimit_core::{BoxFuture, Timestamp};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, Postgres, Row as _, SqlSafeStr as _, SqlStr,
};

use super::connections::Connections;
use super::errors::Failure;
use super::row::{self, RATES, Rate, Row, columns_of, each_column};
use super::store::{
    Asked, Change, Changing, Page, States, Table, Told, VERSION, VERSION_ROW, in_order, instant,
    split,
};
use crate::shape::Shape;

/// A database of PostgreSQL.
pub(super) struct PostgresStore {
    pub(super) connections: Connections<Postgres>,
    table: Table,
    statements: Mutex<HashMap<Shape, SqlStr>>,
}

/// What a connection of our own is told first: what nobody waits for any longer ends, and how a statement is done is thought about once, for
/// a table that will be large, whatever it is then.
pub(super) fn welcome(
    connection: &mut PgConnection,
    bound: Duration,
) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let bound = bound.as_millis().max(1);
        let told = AssertSqlSafe(format!(
            "SET statement_timeout = {bound}; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"
        ));
        connection.execute(told).await.map(drop)
    })
}

/// The time in nanoseconds: what the statement's first parameter says, or the server's.
///
/// Its clock counts microseconds. The double is within a quarter of one until 2038, and within half of one until 2106.
const NOW: &str =
    "COALESCE($1::int8, (date_part('epoch', clock_timestamp()) * 1000000)::int8 * 1000)";

/// Keeps those out who make the table at the same time.
const MAKING: i64 = 0x7261_7465_6c69_6d69;

/// What makes the table.
pub(super) fn schema(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (
  name text COLLATE \"C\" PRIMARY KEY,
  state bytea NOT NULL,
  expires bigint NOT NULL,
  a smallint,
  {},
{}
) WITH (fillfactor = 70);
INSERT INTO {table} (name, state, expires) VALUES ('{VERSION_ROW}', '\\x{VERSION:02x}', {})
  ON CONFLICT (name) DO NOTHING;
",
        decision::COLUMNS,
        (1..=RATES)
            .map(|i| format!("  p{i} bigint, w{i} bigint, r{i} bigint, o{i} bigint"))
            .collect::<Vec<_>>()
            .join(",\n"),
        i64::MAX
    )
}

impl PostgresStore {
    pub(super) fn new(connections: Connections<Postgres>, table: Table) -> Self {
        Self {
            connections,
            table,
            statements: Mutex::default(),
        }
    }

    /// The `{columns}` are those of a row `s` or `held`.
    fn sql(&self, text: &str) -> SqlStr {
        let from = if text.contains("held") { "held." } else { "s." };
        let columns = each_column(RATES, |column| format!(", {from}{column}"));
        AssertSqlSafe(
            text.replace("{table}", &self.table.name)
                .replace("{now}", NOW)
                .replace("{columns}", &columns),
        )
        .into_sql_str()
    }

    fn statement(&self, shape: Shape) -> SqlStr {
        let statements = self.statements.lock();
        let mut statements = statements.unwrap_or_else(PoisonError::into_inner);
        let made = statements.entry(shape).or_insert_with(|| {
            AssertSqlSafe(decision::statement(&self.table.name, shape)).into_sql_str()
        });
        made.clone()
    }

    pub(super) async fn decide(
        &self,
        shape: Shape,
        asked: Vec<Asked>,
    ) -> Result<Vec<Told>, Failure> {
        let (statement, now) = (self.statement(shape), self.table.now());
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    decision::decide(connection, statement, now, shape, &asked).await
                })
            })
            .await
    }

    pub(super) async fn change<T: Send + 'static>(
        &self,
        names: Vec<String>,
        changing: Changing<T>,
    ) -> Result<T, Failure> {
        let now = self.table.now();
        let add = self.sql(
            "INSERT INTO {table} (name, state, expires) SELECT name, '', 0 FROM unnest($1::text[]) AS a(name) \
             ON CONFLICT (name) DO NOTHING",
        );
        let lock = self.sql(
            "WITH held AS MATERIALIZED \
             (SELECT * FROM {table} WHERE name = ANY($2) ORDER BY name FOR UPDATE), \
             clock AS MATERIALIZED (SELECT {now} AS now FROM (SELECT count(*) FROM held) AS locked) \
             SELECT held.name, clock.now, held.state, held.a{columns} FROM clock LEFT JOIN held ON true",
        );
        let store = self.sql(&storing());
        let remove = self.sql("DELETE FROM {table} WHERE name = ANY($1)");
        let done = self
            .connections
            .with(move |connection| {
                Box::pin(async move {
                    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
                    let mut transaction = connection.begin_with(begin).await?;
                    let query = sqlx::query(add).bind(&names);
                    query.execute(&mut *transaction).await?;
                    let query = sqlx::query(lock).bind(now).bind(&names);
                    let rows = query.fetch_all(&mut *transaction).await?;
                    let (now, found) = states(rows)?;
                    if found.len() < names.len() {
                        // One was removed just now.
                        transaction.rollback().await?;
                        return Ok(None);
                    }
                    let (done, changes) = changing(now, &in_order(&names, found));
                    if changes.is_empty() {
                        transaction.rollback().await?;
                        return Ok(Some(done));
                    }
                    let (stored, removed) = split(changes);
                    if !stored.is_empty() {
                        let query = bind_rows(sqlx::query(store), &stored);
                        query.execute(&mut *transaction).await?;
                    }
                    if !removed.is_empty() {
                        let query = sqlx::query(remove).bind(removed);
                        query.execute(&mut *transaction).await?;
                    }
                    transaction.commit().await?;
                    Ok(Some(done))
                })
            })
            .await?;
        done.ok_or_else(Failure::overtaken)
    }

    pub(super) async fn look(
        &self,
        names: Vec<String>,
    ) -> Result<(Timestamp, Vec<Vec<u8>>), Failure> {
        let now = self.table.now();
        let look = self.sql(
            "SELECT s.name, clock.now, s.state, s.a{columns} FROM (SELECT {now} AS now) AS clock \
             LEFT JOIN {table} AS s ON s.name = ANY($2)",
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(look).bind(now).bind(&names);
                    let (now, found) = states(query.fetch_all(connection).await?)?;
                    Ok((now, in_order(&names, found)))
                })
            })
            .await
    }

    pub(super) async fn remove(&self, names: Vec<String>) -> Result<(), Failure> {
        let remove = self.sql("DELETE FROM {table} WHERE name = ANY($1)");
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(remove).bind(names);
                    query.execute(connection).await.map(drop)
                })
            })
            .await
    }

    pub(super) async fn page(&self, behind: String, rows: u32) -> Result<Page, Failure> {
        let now = self.table.now();
        let page = self.sql(
            "SELECT name, expires, {now} AS now FROM {table} WHERE name > $2 AND name <> $4 \
             ORDER BY name LIMIT $3",
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(page).bind(now).bind(behind);
                    let query = query.bind(i64::from(rows)).bind(VERSION_ROW);
                    let rows = query.fetch_all(connection).await?;
                    let row = |row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
                    Page::of(rows.into_iter().map(row))
                })
            })
            .await
    }

    pub(super) async fn expire(&self, names: Vec<String>, now: i64) -> Result<u64, Failure> {
        let expire = self.sql(
            "DELETE FROM {table} WHERE name IN (SELECT name FROM {table} WHERE name = ANY($2) AND expires <= $1 \
             ORDER BY name FOR UPDATE SKIP LOCKED)",
        );
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(expire).bind(now).bind(names);
                    Ok(query.execute(connection).await?.rows_affected())
                })
            })
            .await
    }

    pub(super) async fn version(&self) -> Result<String, Failure> {
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let version = "SELECT current_setting('server_version')";
                    sqlx::query_scalar(version).fetch_one(connection).await
                })
            })
            .await
    }

    pub(super) async fn migrate(&self) -> Result<(), Failure> {
        let schema = schema(&self.table.name);
        let text = format!("BEGIN; SELECT pg_advisory_xact_lock({MAKING}); {schema} COMMIT");
        self.connections
            .with(move |connection| {
                Box::pin(async move {
                    let made = sqlx::raw_sql(AssertSqlSafe(text))
                        .execute(&mut *connection)
                        .await;
                    if made.is_err() {
                        let _ = sqlx::raw_sql("ROLLBACK").execute(connection).await;
                    }
                    made.map(drop)
                })
            })
            .await
    }

    pub(super) async fn table_version(&self) -> Result<Option<Vec<u8>>, Failure> {
        let version = self.sql("SELECT state FROM {table} WHERE name = $1");
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

fn states(rows: Vec<PgRow>) -> Result<(Timestamp, States), sqlx::Error> {
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

/// The statement that writes rows that are there and locked. Its parameters are a list of each column.
fn storing() -> String {
    let (mut set, mut lists, mut names) = (String::new(), String::new(), String::new());
    for (place, column) in columns_of(RATES).enumerate() {
        // Nothing can go wrong with strings.
        let _ = write!(set, ", {column} = excluded.{column}");
        let _ = write!(lists, ", ${}::int8[]", 5 + place);
        let _ = write!(names, ", {column}");
    }
    format!(
        "INSERT INTO {{table}} (name, state, expires, a{names}) \
         SELECT * FROM unnest($1::text[], $2::bytea[], $3::int8[], $4::int2[]{lists}) \
         ON CONFLICT (name) DO UPDATE SET state = excluded.state, expires = excluded.expires, a = excluded.a{set}"
    )
}

fn bind_rows<'q>(
    query: Query<'q, Postgres, PgArguments>,
    stored: &'q [Change],
) -> Query<'q, Postgres, PgArguments> {
    let rows: Vec<_> = stored.iter().map(|it| Row::of(&it.state)).collect();
    let names: Vec<_> = stored.iter().map(|it| &*it.name).collect();
    let expires: Vec<_> = stored.iter().map(|it| it.expires).collect();
    let algorithms: Vec<_> = rows.iter().map(|row| row.algorithm).collect();
    let mut columns: Vec<Vec<Option<i64>>> = Vec::with_capacity(4 * RATES);
    for rate in 0..RATES {
        for of in [
            |it: &Rate| it.period,
            |it: &Rate| it.w,
            |it: &Rate| it.r,
            |it: &Rate| it.o,
        ] {
            let column = rows.iter().map(|row| row.rates.get(rate).map(of));
            columns.push(column.collect());
        }
    }
    let states: Vec<_> = rows.into_iter().map(|row| row.state).collect();
    let query = query.bind(names).bind(states);
    let mut query = query.bind(expires).bind(algorithms);
    for column in columns {
        query = query.bind(column);
    }
    query
}
