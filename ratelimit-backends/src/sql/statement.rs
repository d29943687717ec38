//! The arithmetic of the [algorithms](ratelimit_core::algorithm), as a database does it on states in their stored form.
//!
//! It is written once, as steps of which each adds columns to those before, for both [dialects](super::dialect). What
//! comes in has the columns
//!
//! | column | |
//! |---|---|
//! | `asked` | how many equal checks there are, one after the other |
//! | `takes` | units of each |
//! | `delay` | nanoseconds by which each may be delayed |
//! | `p1`, `q1`, `f1`, `c1`, `p2`, … | the [numbers](super::shape::Numbers) of each rate |
//! | `state`, `expires` | what is stored; no bytes for nothing |
//! | `now` | nanoseconds |
//!
//! What comes out has besides `n`, how many of the checks are admitted, or -1 where others have to decide; and `next_state` and
//! `next_expires`, what is stored then.

use super::dialect::Dialect;
use super::shape::{Family, Shape};

/// Where the first rate begins, counted from one.
const FIRST: usize = 4;

/// How many nanoseconds a second has.
const SECOND: &str = "1000000000";

/// More seconds than any clock shows.
const MOST_SECONDS: &str = "18446744073";

/// Writes the steps of one shape.
pub(super) struct Steps<'d> {
    pub(super) dialect: &'d dyn Dialect,
    pub(super) shape: Shape,
}

impl Steps<'_> {
    fn rates(&self) -> core::ops::RangeInclusive<usize> {
        1..=self.shape.rates
    }

    /// Where a rate's period begins.
    fn place(&self, rate: usize) -> usize {
        FIRST + (rate - 1) * (8 + self.shape.width())
    }

    fn number(&self, from: usize, bytes: usize) -> String {
        self.dialect.number("state", from, bytes)
    }

    /// What the state says: `w1`, `r1`, `o1`, …, all zero where there is none, and whether it can be
    /// `read`.
    pub(super) fn read(&self, from: &str) -> String {
        let mut columns = Vec::new();
        let mut sound = vec![
            format!(
                "length(state) = 3 + {} * {}",
                self.number(3, 1),
                8 + self.shape.width()
            ),
            format!("{} >= {}", self.number(3, 1), self.shape.rates),
            format!(
                "{} = {}",
                self.dialect.part("state", 1, 2),
                self.dialect.literal(&[1, self.shape.algorithm.number()])
            ),
        ];
        for rate in self.rates() {
            let at = self.place(rate);
            sound.push(format!("{} = p{rate}", self.number(at, 8)));
            let (whole, rest, other) = match self.shape.family {
                Family::Bucket => {
                    let (seconds, nanos) = (self.number(at + 8, 8), self.number(at + 16, 4));
                    let (part, q) = (self.number(at + 20, 4), self.number(at + 24, 4));
                    sound.push(format!("{seconds} BETWEEN 0 AND {MOST_SECONDS} - 1"));
                    sound.push(format!("{nanos} < {SECOND}"));
                    sound.push(format!("({part} = 0 OR {part} < {q})"));
                    (format!("{seconds} * {SECOND} + {nanos}"), part, q)
                }
                Family::Fixed => (
                    self.number(at + 8, 8),
                    self.number(at + 16, 4),
                    "0".to_owned(),
                ),
                Family::Counter => (
                    self.number(at + 8, 8),
                    self.number(at + 16, 4),
                    self.number(at + 20, 4),
                ),
            };
            for (name, number) in [("w", whole), ("r", rest), ("o", other)] {
                columns.push(format!(
                    "CASE WHEN length(state) = 0 THEN 0 ELSE {number} END AS {name}{rate}"
                ));
            }
        }
        let (columns, sound) = (columns.join(", "), sound.join(" AND "));
        format!(
            "SELECT seen.*, {columns}, (length(state) = 0 OR ({sound})) AS sound FROM {from} AS seen"
        )
    }

    /// What is used of each rate, `u1`, …; of windows the one that is now, `v1`, …, and of two windows their units,
    /// `x1` and `y1`, …; and whether the state `fits` the time and the rate.
    pub(super) fn used(&self, from: &str) -> String {
        let mut columns = Vec::new();
        let mut fits = vec!["sound".to_owned()];
        for i in self.rates() {
            match self.shape.family {
                Family::Bucket => {
                    // Parts of another size are rounded up.
                    let part = format!(
                        "CASE WHEN r{i} = 0 THEN 0 WHEN o{i} = q{i} THEN r{i} ELSE q{i} END"
                    );
                    let used = format!("GREATEST(0, (w{i} - now) * q{i} + {part})");
                    fits.push(format!("{used} <= f{i}"));
                    columns.push(format!("{used} AS u{i}"));
                }
                Family::Fixed => {
                    let window = self.dialect.quotient("now", &format!("p{i}"));
                    fits.push(format!("(w{i} <= {window} OR r{i} = 0)"));
                    columns.push(format!("{window} AS v{i}"));
                    columns.push(format!(
                        "CASE WHEN w{i} = {window} THEN r{i} ELSE 0 END AS u{i}"
                    ));
                }
                Family::Counter => {
                    let window = self.dialect.quotient("now", &format!("p{i}"));
                    let left = format!("(p{i} - MOD(now, p{i}))");
                    fits.push(format!("(w{i} <= {window} OR (r{i} = 0 AND o{i} = 0))"));
                    let previous = format!(
                        "CASE WHEN w{i} = {window} THEN r{i} WHEN w{i} = {window} - 1 THEN o{i} ELSE 0 END"
                    );
                    let current = format!("CASE WHEN w{i} = {window} THEN o{i} ELSE 0 END");
                    columns.push(format!("{window} AS v{i}"));
                    columns.push(format!("{previous} AS x{i}"));
                    columns.push(format!("{current} AS y{i}"));
                    columns.push(format!(
                        "({current}) * p{i} + ({previous}) * {left} AS u{i}"
                    ));
                }
            }
        }
        let (columns, fits) = (columns.join(", "), fits.join(" AND "));
        format!("SELECT seen.*, {columns}, ({fits}) AS fits FROM {from} AS seen")
    }

    /// How many are admitted.
    pub(super) fn told(&self, from: &str) -> String {
        let mut room = vec!["asked".to_owned()];
        for i in self.rates() {
            let free = self
                .dialect
                .quotient(&format!("f{i} - u{i}"), &format!("c{i}"));
            // A quotient of less than nothing would be rounded up to it.
            room.push(format!("CASE WHEN f{i} < u{i} THEN 0 ELSE {free} END"));
            if self.shape.delayed {
                let later = self
                    .dialect
                    .quotient(&format!("delay * q{i} - u{i}"), &format!("c{i}"));
                room.push(format!(
                    "CASE WHEN delay * q{i} < u{i} THEN 0 ELSE {later} + 1 END"
                ));
            }
        }
        let room = room.join(", ");
        format!(
            "SELECT seen.*, CASE WHEN fits THEN LEAST({room}) ELSE -1 END AS n FROM {from} AS seen"
        )
    }

    /// What is stored then, and until when.
    pub(super) fn next(&self, from: &str) -> String {
        let dialect = self.dialect;
        let end = self.place(self.shape.rates + 1);
        let rates = u8::try_from(self.shape.rates).unwrap_or(u8::MAX);
        let head = dialect.literal(&[1, self.shape.algorithm.number(), rates]);
        // Rates that other limits had stand behind these, and stay.
        let head = format!(
            "CASE WHEN length(state) = 0 THEN {head} ELSE {} END",
            dialect.part("state", 1, 3)
        );
        let mut after = vec![head];
        let mut until = vec![format!(
            "CASE WHEN length(state) < {end} THEN 0 ELSE expires END"
        )];
        for i in self.rates() {
            after.push(dialect.bytes(&format!("p{i}"), 8));
            match self.shape.family {
                Family::Bucket => {
                    let total = format!("u{i} + n * c{i}");
                    let whole = format!("now + {}", dialect.quotient(&total, &format!("q{i}")));
                    let part = format!("MOD({total}, q{i})");
                    after.push(dialect.bytes(&dialect.quotient(&whole, SECOND), 8));
                    after.push(dialect.bytes(&format!("MOD({whole}, {SECOND})"), 4));
                    after.push(dialect.bytes(&part, 4));
                    after.push(dialect.bytes(&format!("q{i}"), 4));
                    until.push(format!("{whole} + CASE WHEN {part} > 0 THEN 1 ELSE 0 END"));
                }
                Family::Fixed => {
                    after.push(dialect.bytes(&format!("v{i}"), 8));
                    after.push(dialect.bytes(&format!("u{i} + n * takes"), 4));
                    until.push(format!("(v{i} + 1) * p{i}"));
                }
                Family::Counter => {
                    after.push(dialect.bytes(&format!("v{i}"), 8));
                    after.push(dialect.bytes(&format!("x{i}"), 4));
                    after.push(dialect.bytes(&format!("y{i} + n * takes"), 4));
                    until.push(format!("(v{i} + 2) * p{i}"));
                }
            }
        }
        after.push(dialect.rest("state", end));
        let (after, until) = (dialect.joined(&after), until.join(", "));
        format!(
            "SELECT seen.*, {after} AS next_state, GREATEST({until}) AS next_expires FROM {from} AS seen WHERE n > 0"
        )
    }
}
