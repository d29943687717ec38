//! The arithmetic of the [algorithms](ratelimit_core::algorithm), as a database does it on the [columns](super::row) of a row.
//!
//! It is written once, as steps of which each adds columns to those before, for both [dialects](super::dialect). What
//! comes in has the columns
//!
//! | column | |
//! |---|---|
//! | `asked` | how many equal checks there are, one after the other |
//! | `takes` | units of each |
//! | `delay` | nanoseconds by which each may be delayed |
//! | `p1`, `q1`, `f1`, `c1`, `p2`, … | the [numbers](crate::shape::Numbers) of each rate |
//! | `others` | whether the state is in bytes, or of another algorithm |
//! | `k1`, `w1`, `r1`, `o1`, `k2`, … | what is stored of each rate: its period, and its numbers; none for nothing |
//! | `more` | whether there are other rates behind these |
//! | `expires` | what is stored |
//! | `now` | nanoseconds |
//!
//! What comes out has besides `n`, how many of the checks are admitted, or -1 where others have to decide; and `nw1`, `nr1`, `no1`, …,
//! and `next_expires`, what is stored then.

use super::dialect::Dialect;
use crate::shape::{Family, NARROW, Shape};

/// Writes the steps of one shape.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) dialect: Dialect,
    pub(super) shape: Shape,
}

/// What the steps of one rate are made of: names of columns, or what stands for them.
pub(super) struct Terms {
    pub(super) p: String,
    pub(super) q: String,
    pub(super) f: String,
    pub(super) w: String,
    pub(super) r: String,
    pub(super) o: String,
    pub(super) now: String,
}

impl Steps {
    fn rates(&self) -> core::ops::RangeInclusive<usize> {
        1..=self.shape.rates
    }

    /// Those of a rate whose columns are there under their own names.
    pub(super) fn terms(i: usize) -> Terms {
        let of = |column: &str| format!("{column}{i}");
        let stored = |column: &str| format!("COALESCE({column}{i}, 0)");
        Terms {
            p: of("p"),
            q: of("q"),
            f: of("f"),
            w: stored("w"),
            r: stored("r"),
            o: stored("o"),
            now: "now".to_owned(),
        }
    }

    /// What is used of each rate, `u1`, …, of two windows the units of each, `x1` and `y1`, …; and whether the state
    /// `fits` the time and the rate.
    #[cfg(feature = "mysql")]
    pub(super) fn used(&self, from: &str) -> String {
        let periods: Vec<_> = self.rates().map(|i| format!("k{i} = p{i}")).collect();
        let mut fits = vec![
            "NOT others".to_owned(),
            format!("(k1 IS NULL OR ({}))", periods.join(" AND ")),
        ];
        fits.extend(self.rates().map(|i| self.fits(&Self::terms(i))));
        let fits = fits.join(" AND ");
        self.used_where(&format!("COALESCE({fits}, FALSE)"), from)
    }

    /// The same where it is known whether the state fits.
    pub(super) fn used_where(&self, fits: &str, from: &str) -> String {
        let columns = self.rates().map(|i| {
            let terms = Self::terms(i);
            let used = self.used_of(&terms);
            if self.shape.family == Family::Counter {
                let (previous, current) = self.windows(&terms);
                format!("{used} AS u{i}, {previous} AS x{i}, {current} AS y{i}")
            } else {
                format!("{used} AS u{i}")
            }
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("SELECT seen.*, {columns}, {fits} AS fits FROM {from} AS seen")
    }

    /// The number of the window that is now.
    pub(super) fn window(&self, it: &Terms) -> String {
        self.quotient(&it.now, &it.p)
    }

    pub(super) fn quotient(&self, of: &str, by: &str) -> String {
        self.dialect.quotient(of, by, self.shape.narrow)
    }

    /// How many parts there are behind the whole nanoseconds of a bucket: of another size, they are rounded up.
    fn part(it: &Terms) -> String {
        let Terms { q, r, o, .. } = it;
        format!("CASE WHEN {r} = 0 THEN 0 WHEN {o} = {q} THEN {r} ELSE {q} END")
    }

    /// Units used in the window before, and in that which is now.
    pub(super) fn windows(&self, it: &Terms) -> (String, String) {
        let Terms { w, r, o, .. } = it;
        let window = self.window(it);
        (
            format!(
                "CASE WHEN {w} = {window} THEN {r} WHEN {w} = {window} - 1 THEN {o} ELSE 0 END"
            ),
            format!("CASE WHEN {w} = {window} THEN {o} ELSE 0 END"),
        )
    }

    /// What is used of a rate; one more than there is, where it would be too large a number.
    pub(super) fn used_of(&self, it: &Terms) -> String {
        let Terms {
            p, q, f, w, r, now, ..
        } = it;
        match self.shape.family {
            Family::Bucket => {
                let (part, most) = (Self::part(it), self.quotient(f, q));
                format!(
                    "CASE WHEN {w} < {now} THEN 0 WHEN {w} - {now} > {most} + 1 THEN {f} + 1 \
                     ELSE ({w} - {now}) * {q} + {part} END"
                )
            }
            Family::Fixed => {
                let window = self.window(it);
                format!("CASE WHEN {w} = {window} THEN {r} ELSE 0 END")
            }
            Family::Counter => {
                let (previous, current) = self.windows(it);
                let used = format!("({current}) * {p} + ({previous}) * ({p} - MOD({now}, {p}))");
                if self.shape.narrow {
                    format!(
                        "CASE WHEN {} THEN {used} ELSE {f} + 1 END",
                        self.is_small(it)
                    )
                } else {
                    used
                }
            }
        }
    }

    fn is_small(&self, it: &Terms) -> String {
        let Terms { p, r, o, .. } = it;
        let most = self.quotient(&(2 * NARROW).to_string(), p);
        format!("{r} + {o} < {most}")
    }

    /// Whether the state of a rate can be that of its algorithm, now.
    #[cfg(feature = "mysql")]
    pub(super) fn fits(&self, it: &Terms) -> String {
        let sound = self.is_sound(it);
        match self.shape.family {
            Family::Bucket => format!("{sound} AND {} <= {}", self.used_of(it), it.f),
            Family::Fixed | Family::Counter => sound,
        }
    }

    /// Whether a call that takes `c` of a rate is admitted, by a state that can be that of its algorithm. With a bound on what may
    /// be `used` by calls before, it is one that can be delayed.
    pub(super) fn admits(&self, it: &Terms, c: &str, used: Option<&str>) -> String {
        let (sound, now) = (self.is_sound(it), self.used_of(it));
        let later = used.map_or_else(String::new, |later| format!(" AND {now} <= {later}"));
        format!("{sound} AND {now} <= {} - {c}{later}", it.f)
    }

    fn is_sound(&self, it: &Terms) -> String {
        let Terms { w, r, o, .. } = it;
        let most = u32::MAX;
        let sound = format!("{w} >= 0 AND {r} BETWEEN 0 AND {most} AND {o} BETWEEN 0 AND {most}");
        match self.shape.family {
            Family::Bucket => format!("{sound} AND ({r} = 0 OR {r} < {o})"),
            Family::Fixed => {
                let window = self.window(it);
                format!("{sound} AND ({w} <= {window} OR {r} = 0)")
            }
            Family::Counter => {
                let window = self.window(it);
                let small = if self.shape.narrow {
                    format!(" AND {}", self.is_small(it))
                } else {
                    String::new()
                };
                format!("{sound} AND ({w} <= {window} OR ({r} = 0 AND {o} = 0)){small}")
            }
        }
    }

    /// How many are admitted.
    pub(super) fn told(&self, from: &str) -> String {
        let mut room = vec!["asked".to_owned()];
        for i in self.rates() {
            let free = self.quotient(&format!("f{i} - u{i}"), &format!("c{i}"));
            // A quotient of less than nothing would be rounded up to it.
            room.push(format!("CASE WHEN f{i} < u{i} THEN 0 ELSE {free} END"));
            if self.shape.delayed {
                let later = self.quotient(&format!("delay * q{i} - u{i}"), &format!("c{i}"));
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

    /// What is stored then, and until when, where any is admitted.
    pub(super) fn next(&self, from: &str) -> String {
        let mut columns = Vec::new();
        // Rates that other limits had stand behind these, and stay.
        let mut until = vec!["CASE WHEN more THEN expires ELSE 0 END".to_owned()];
        for i in self.rates() {
            let window = self.window(&Self::terms(i));
            let (w, r, o) = match self.shape.family {
                Family::Bucket => {
                    let (total, q) = (format!("(u{i} + n * c{i})"), format!("q{i}"));
                    let whole = format!("now + {}", self.quotient(&total, &q));
                    let part = format!("MOD({total}, {q})");
                    until.push(format!("{whole} + CASE WHEN {part} > 0 THEN 1 ELSE 0 END"));
                    (whole, part, q)
                }
                Family::Fixed => {
                    until.push(format!("({window} + 1) * p{i}"));
                    (window, format!("u{i} + n * takes"), "0".to_owned())
                }
                Family::Counter => {
                    until.push(format!("({window} + 2) * p{i}"));
                    (window, format!("x{i}"), format!("y{i} + n * takes"))
                }
            };
            columns.push(format!("{w} AS nw{i}, {r} AS nr{i}, {o} AS no{i}"));
        }
        let (columns, until) = (columns.join(", "), until.join(", "));
        format!(
            "SELECT seen.*, {columns}, GREATEST({until}) AS next_expires FROM {from} AS seen WHERE n > 0"
        )
    }
}
