//! The statements that decide: those for checks with the same numbers, which stand in them, and one for all others.
//!
//! The first are an `UPDATE` each, whose condition is that a call is admitted. Its assignments come to the same whether each sees those
//! before it, as is usual, or none does (`SIMULTANEOUS_ASSIGNMENT`). What cannot be written so is worked out in tables of its own, step by step.

use core::fmt::Write as _;
use std::collections::HashMap;

use super::super::dialect::Dialect;
use super::super::row::{RATES, each_column};
use super::super::statement::{Steps, Terms};
use super::super::store::Asked;
use crate::shape::{Family, Numbers, Shape};

/// Where the time is kept while a transaction lasts.
pub(super) const NOW: &str = "@ratelimit_now";

/// More rows than any question has: a table of its own is made where there is a bound.
const BOUND: &str = "LIMIT 1000000";

/// What has the same numbers.
type Group = (Vec<Numbers>, u32, u32, u64);

fn steps(shape: Shape) -> Steps {
    Steps {
        dialect: Dialect::MySql,
        shape,
    }
}

/// The statements, and how many they are.
pub(super) fn updates(table: &str, shape: Shape, asked: &[Asked]) -> (String, usize) {
    let mut groups: HashMap<Group, Vec<&str>> = HashMap::new();
    let mut others = Vec::new();
    for it in asked {
        if is_plain(shape, it) {
            let group = (it.numbers.clone(), it.count, it.takes, it.delay);
            groups.entry(group).or_default().push(&it.name);
        } else {
            others.push(it);
        }
    }
    let mut text = String::new();
    let mut count = groups.len();
    for ((numbers, asked, takes, delay), names) in groups {
        text.push_str(&plain(table, shape, &numbers, asked, takes, delay, &names));
    }
    if !others.is_empty() {
        count += 1;
        text.push_str(&general(table, shape, &others));
    }
    (text, count)
}

/// Whether one assignment after the other comes to what all at once would.
fn is_plain(shape: Shape, it: &Asked) -> bool {
    let whole = shape.family != Family::Bucket || it.numbers.iter().all(|it| it.q == 1);
    let one = it.count == 1 || (shape.rates == 1 && shape.family != Family::Counter);
    shape.narrow && whole && one
}

fn plain(
    table: &str,
    shape: Shape,
    numbers: &[Numbers],
    asked: u32,
    takes: u32,
    delay: u64,
    names: &[&str],
) -> String {
    let steps = steps(shape);
    let number = shape.algorithm.number();
    let (mut set, mut periods) = (String::new(), String::new());
    let mut admitted = String::new();
    let mut until = match shape.rates {
        RATES => "0".to_owned(),
        rates => format!("IF(p{} IS NULL, 0, expires)", rates + 1),
    };
    for (i, it) in (1..).zip(numbers) {
        if i > 1 {
            set.push_str(", ");
        }
        let of = |column: &str| format!("IFNULL({column}{i}, 0)");
        let terms = Terms {
            p: it.period.to_string(),
            q: it.q.to_string(),
            f: it.capacity.to_string(),
            w: of("w"),
            r: of("r"),
            o: of("o"),
            now: NOW.to_owned(),
        };
        let (used, window) = (steps.used_of(&terms), steps.window(&terms));
        let (capacity, c, period) = (it.capacity, it.takes, it.period);
        // Nothing can go wrong with strings.
        let _ = write!(periods, " AND p{i} = {period}");
        let later = (u128::from(delay) * u128::from(it.q)).to_string();
        let delayed = shape.delayed.then_some(&*later);
        let _ = write!(
            admitted,
            " AND {}",
            steps.admits(&terms, &c.to_string(), delayed)
        );
        let n = if asked == 1 {
            "1".to_owned()
        } else {
            let mut room = format!("{asked}, ({capacity} - ({used})) DIV {c}");
            if shape.delayed {
                let _ = write!(room, ", ({later} - ({used})) DIV {c} + 1");
            }
            format!("LEAST({room})")
        };
        match shape.family {
            Family::Bucket => {
                let full = format!("{NOW} + {used} + {n} * {c}");
                let _ = write!(set, "w{i} = {full}, r{i} = 0, o{i} = 1");
                let _ = write!(until, ", {full}");
            }
            Family::Fixed => {
                let _ = write!(
                    set,
                    "r{i} = {used} + {n} * {takes}, w{i} = {window}, o{i} = 0"
                );
                let _ = write!(until, ", ({window} + 1) * {period}");
            }
            Family::Counter => {
                let (previous, current) = steps.windows(&terms);
                let _ = write!(
                    set,
                    "r{i} = {previous}, o{i} = {current} + {takes}, w{i} = {window}"
                );
                let _ = write!(until, ", ({window} + 2) * {period}");
            }
        }
        let _ = write!(set, ", p{i} = {period}");
    }
    let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    format!(
        "UPDATE {table} SET expires = GREATEST({until}), {set}, a = {number} \
         WHERE name IN ({}) AND state = '' AND (p1 IS NULL OR (a = {number}{periods})){admitted}; ",
        names.join(", ")
    )
}

fn general(table: &str, shape: Shape, asked: &[&Asked]) -> String {
    let steps = steps(shape);
    let number = shape.algorithm.number();
    let mut columns = "name VARCHAR(255) PATH '$[0]'".to_owned();
    let mut place = 0;
    let mut add = |name: &str| {
        place += 1;
        let _ = write!(columns, ", {name} DECIMAL(40, 0) PATH '$[{place}]'");
    };
    for name in ["asked", "takes", "delay"] {
        add(name);
    }
    for rate in 1..=shape.rates {
        for name in ["p", "q", "f", "c"] {
            add(&format!("{name}{rate}"));
        }
    }
    let (mut stored, mut set) = (String::new(), String::new());
    for i in 1..=shape.rates {
        let _ = write!(stored, ", s.p{i} AS k{i}");
        for column in ["w", "r", "o"] {
            let _ = write!(
                stored,
                ", CAST(s.{column}{i} AS DECIMAL(40, 0)) AS {column}{i}"
            );
        }
        for (column, next) in [("p", "p"), ("w", "nw"), ("r", "nr"), ("o", "no")] {
            let _ = write!(set, ", s.{column}{i} = next.{next}{i}");
        }
    }
    let more = match shape.rates {
        RATES => "FALSE".to_owned(),
        rates => format!("s.p{} IS NOT NULL", rates + 1),
    };
    let seen = format!(
        "(SELECT ask.*, COALESCE(s.state <> '' OR s.a <> {number}, FALSE) AS others, {more} AS more, \
         CAST(s.expires AS DECIMAL(40, 0)) AS expires, CAST({NOW} AS DECIMAL(40, 0)) AS now{stored} \
         FROM JSON_TABLE('{}', '$[*]' COLUMNS ({columns})) AS ask \
         STRAIGHT_JOIN {table} AS s ON s.name = CONVERT(ask.name USING ascii) COLLATE ascii_bin {BOUND})",
        json(asked)
    );
    let used = steps.used(&seen);
    let told = steps.told(&format!("({used} {BOUND})"));
    let next = steps.next(&format!("({told} {BOUND})"));
    format!(
        "UPDATE ({next} {BOUND}) AS next \
         STRAIGHT_JOIN {table} AS s ON s.name = CONVERT(next.name USING ascii) COLLATE ascii_bin \
         SET s.a = {number}, s.expires = next.next_expires{set}; "
    )
}

/// A list of lists of numbers in quotes, as numbers of JSON may be rounded.
fn json(asked: &[&Asked]) -> String {
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

/// The columns of a table, behind a comma each.
pub(super) fn schema() -> String {
    each_column(RATES, |column| format!(", {column} BIGINT"))
}
