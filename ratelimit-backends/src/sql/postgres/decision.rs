//! The statement that decides: it adds each key's row, or changes it where a call is admitted, and says what it then is.
//!
//! PostgreSQL locks a row that is there before it works out whether and how to change it: the clock, which is read in both, is read behind
//! the lock. A row that was not changed is read after that, locked as it is. Of one that others have added since the
//! statement began nothing can be read: it is asked for again. So is all of it where the clock steps back between the two, so that a call
//! that was to be admitted is not: there is nothing to store then, which the table refuses.
//!
//! What is asked stands in lists. A row knows its place in them by `n`: above the lower 32 bits stands the place, in
//! them how many calls are asked for, and once they are decided how many were let in; `t` is the time of that.

use core::fmt::Write as _;

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Postgres, Row as _, SqlStr};

use super::super::dialect::Dialect;
use super::super::row::{self, RATES, each_column};
use super::super::statement::Steps;
use super::super::store::{Asked, Told, wrong};
use super::NOW;
use crate::shape::{Numbers, Shape};

/// The lower bits of `n`.
const CALLS: u32 = u32::MAX;

/// Has a step worked out once, and not for each mention of what it made.
const FENCE: &str = "OFFSET 0";

/// The columns that the statement needs besides.
pub(super) const COLUMNS: &str = "t bigint, n bigint";

/// The text of the statement for checks of a shape. Its parameters are the time, the names, and a list of each number.
pub(super) fn statement(table: &str, shape: Shape) -> String {
    let steps = Steps {
        dialect: Dialect::Postgres,
        shape,
    };
    let number = shape.algorithm.number();
    // Numbers of 64 bits, or of any size.
    let wide = if shape.narrow { "" } else { "::numeric" };
    // A list of 64-bit numbers is as good as a table.
    let (mut asked, mut held) = <(String, String)>::default();
    for (index, (name, kind)) in numbers(shape).enumerate() {
        let list = format!("(${}::{kind})", index + 3);
        // Nothing can go wrong with strings.
        let _ = write!(asked, ", {list}[ask.place::int4]{wide} AS {name}");
        if name != "asked" {
            let _ = write!(held, ", {list}[(excluded.n >> 32)::int4]{wide} AS {name}");
        }
    }
    let (mut unused, mut stored, mut next) = <(String, String, String)>::default();
    let (mut periods, mut admitted) = <(String, String)>::default();
    for i in 1..=shape.rates {
        let _ = write!(
            unused,
            ", 0{wide} AS u{i}, 0::int8{wide} AS x{i}, 0::int8{wide} AS y{i}"
        );
        for column in ["w", "r", "o"] {
            let _ = write!(stored, ", it.{column}{i}{wide} AS {column}{i}");
        }
        let _ = write!(next, ", p{i}::int8, nw{i}::int8, nr{i}::int8, no{i}::int8");
        let and = if i > 1 { " AND " } else { "" };
        let _ = write!(periods, "{and}it.p{i} = p{i}");
        let terms = Steps::terms(i);
        let later = format!("delay * q{i}");
        let later = shape.delayed.then_some(&*later);
        let admits = steps.admits(&terms, &format!("c{i}"), later);
        let _ = write!(admitted, " AND {admits}");
    }
    let more = match shape.rates {
        RATES => "FALSE".to_owned(),
        rates => format!("it.p{} IS NOT NULL", rates + 1),
    };
    let columns = each_column(shape.rates, |column| format!(", {column}"));
    let (row, read) = (
        format!("expires, a, t, n{columns}"),
        each_column(shape.rates, |column| format!(", s.{column}")),
    );
    let made = |place: &str| {
        format!("next_expires::int8, {number}::int2, now::int8, ({place} << 32) | n::int8{next}")
    };
    let fresh = format!(
        "(SELECT ask.name, ask.place{asked}, clock.now, TRUE AS fits, FALSE AS more, 0{wide} AS expires{unused} \
         FROM unnest($2::text[]) WITH ORDINALITY AS ask(name, place) \
         CROSS JOIN (SELECT {NOW}{wide} AS now) AS clock {FENCE})"
    );
    let fresh = steps.next(&format!("({} {FENCE})", steps.told(&fresh)));
    let seen = format!(
        "(SELECT (excluded.n & {CALLS}){wide} AS asked{held}, {more} AS more, it.expires{wide} AS expires, \
         {NOW}{wide} AS now{stored} {FENCE})"
    );
    let told = steps.told(&format!("({} {FENCE})", steps.used_where("TRUE", &seen)));
    format!(
        "WITH done AS (INSERT INTO {table} AS it (name, state, {row}) \
           SELECT name, '', {} FROM ({fresh}) AS fresh \
           ON CONFLICT (name) DO UPDATE SET ({row}) = (SELECT {} FROM ({}) AS next) \
           WHERE (SELECT it.state = '' AND (it.p1 IS NULL OR (it.a = {number} AND {periods})){admitted} FROM {seen} AS seen) \
           RETURNING n, t, state, a{columns}) \
         SELECT n >> 32, t, n & {CALLS}, state, a{columns} FROM done \
         UNION ALL SELECT * FROM (SELECT ask.place, {NOW}, NULL::int8, s.state, s.a{read} \
           FROM unnest($2::text[]) WITH ORDINALITY AS ask(name, place) JOIN {table} AS s ON s.name = ask.name \
           WHERE (SELECT count(*) FROM done) < cardinality($2::text[]) AND ask.place NOT IN (SELECT n >> 32 FROM done) \
           FOR UPDATE OF s) AS denied",
        made("place"),
        made("(excluded.n >> 32)"),
        steps.next(&format!("({told} {FENCE})")),
    )
}

/// The numbers that are asked with, and how a list of each is told.
fn numbers(shape: Shape) -> impl Iterator<Item = (String, &'static str)> {
    let long = if shape.narrow { "int8[]" } else { "text[]" };
    let each = ["asked", "takes", "delay"].map(|name| (name.to_owned(), "int8[]"));
    let rates = (1..=shape.rates).flat_map(move |i| {
        [("p", "int8[]"), ("q", "int8[]"), ("f", long), ("c", long)]
            .map(|(name, kind)| (format!("{name}{i}"), kind))
    });
    each.into_iter().chain(rates)
}

/// Asks, in the order of the names, and says what is told of each.
pub(super) async fn decide(
    connection: &mut PgConnection,
    statement: SqlStr,
    now: Option<i64>,
    shape: Shape,
    asked: &[Asked],
) -> Result<Vec<Told>, sqlx::Error> {
    let query = bind(sqlx::query(statement).bind(now), shape, asked);
    let rows = query.fetch_all(connection).await?;
    // Those of which nothing is said were added by others at the same time.
    let mut told: Vec<_> = asked.iter().map(|_| Told::again()).collect();
    for row in rows {
        let place: i64 = row.try_get(0)?;
        let place = usize::try_from(place).ok().and_then(|it| it.checked_sub(1));
        let known = place.and_then(|place| Some((asked.get(place)?, told.get_mut(place)?)));
        let (asked, told) = known.ok_or_else(|| wrong("a row has no place"))?;
        let (now, stored) = (row.try_get(1)?, row::read(&row, 3, shape.rates)?);
        *told = match row.try_get::<Option<i64>, _>(2)? {
            Some(admitted) => {
                let admitted =
                    u32::try_from(admitted).map_err(|_| wrong("too many are admitted"))?;
                let before = stored.uncharged(shape, asked, now, admitted);
                let before = before.ok_or_else(|| wrong("less was stored than charged"))?;
                Told::new(now, Some(admitted), before.bytes())?
            }
            None => match stored.admits(shape, asked, now) {
                // It was not admitted when it was decided, and would be by now.
                Some(1..) => Told::again(),
                admitted => Told::new(now, admitted, stored.bytes())?,
            },
        };
    }
    Ok(told)
}

fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    shape: Shape,
    asked: &'q [Asked],
) -> Query<'q, Postgres, PgArguments> {
    fn column<T>(asked: &[Asked], of: impl Fn(&Asked) -> T) -> Vec<T> {
        asked.iter().map(of).collect()
    }
    // Bounded by a century.
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut query = query
        .bind(asked.iter().map(|it| &*it.name).collect::<Vec<_>>())
        .bind(column(asked, |it| i64::from(it.count)))
        .bind(column(asked, |it| i64::from(it.takes)))
        .bind(column(asked, |it| number(it.delay)));
    for rate in 0..shape.rates {
        query = query
            .bind(column(asked, |it| number(it.numbers[rate].period)))
            .bind(column(asked, |it| i64::from(it.numbers[rate].q)));
        for of in [|it: &Numbers| it.capacity, |it: &Numbers| it.takes] {
            query = if shape.narrow {
                // Which is what that says.
                let number = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
                query.bind(column(asked, |it| number(of(&it.numbers[rate]))))
            } else {
                query.bind(column(asked, |it| of(&it.numbers[rate]).to_string()))
            };
        }
    }
    query
}
