//! [`Dialect`]: how the two databases that decide by a statement write the same thing. Bytes are counted from one, as both do.

use super::hex::hex;

/// How a database writes it.
pub(super) trait Dialect {
    /// So many bytes of a text of bytes, as a number without a sign.
    fn number(&self, of: &str, from: usize, bytes: usize) -> String;

    /// A number as so many bytes, the highest first.
    fn bytes(&self, number: &str, bytes: usize) -> String;

    /// These bytes.
    fn literal(&self, bytes: &[u8]) -> String;

    /// The quotient, without its fraction.
    fn quotient(&self, of: &str, by: &str) -> String;

    /// Some bytes of a text of bytes.
    fn part(&self, of: &str, from: usize, bytes: usize) -> String {
        format!("substring({of}, {from}, {bytes})")
    }

    /// All of them from there on.
    fn rest(&self, of: &str, from: usize) -> String {
        format!("substring({of}, {from})")
    }

    /// One after the other.
    fn joined(&self, parts: &[String]) -> String;
}

/// PostgreSQL.
#[cfg(feature = "postgres")]
pub(super) struct Postgres;

#[cfg(feature = "postgres")]
impl Dialect for Postgres {
    fn number(&self, of: &str, from: usize, bytes: usize) -> String {
        let (part, bits) = (self.part(of, from, bytes), 8 * bytes);
        format!("('x' || encode({part}, 'hex'))::bit({bits})::int8::numeric")
    }

    fn bytes(&self, number: &str, bytes: usize) -> String {
        let all = format!("int8send(({number})::int8)");
        if bytes == 8 {
            return all;
        }
        self.rest(&all, 9 - bytes)
    }

    fn literal(&self, bytes: &[u8]) -> String {
        format!("'\\x{}'::bytea", hex(bytes))
    }

    fn quotient(&self, of: &str, by: &str) -> String {
        format!("div({of}, {by})")
    }

    fn joined(&self, parts: &[String]) -> String {
        parts.join(" || ")
    }
}

/// MySQL and MariaDB.
#[cfg(feature = "mysql")]
pub(super) struct MySql;

#[cfg(feature = "mysql")]
impl Dialect for MySql {
    fn number(&self, of: &str, from: usize, bytes: usize) -> String {
        let part = self.part(of, from, bytes);
        format!("CAST(CONV(HEX({part}), 16, 10) AS DECIMAL(40, 0))")
    }

    fn bytes(&self, number: &str, bytes: usize) -> String {
        let digits = 2 * bytes;
        format!("UNHEX(LPAD(HEX(CAST({number} AS UNSIGNED)), {digits}, '0'))")
    }

    fn literal(&self, bytes: &[u8]) -> String {
        format!("X'{}'", hex(bytes))
    }

    fn quotient(&self, of: &str, by: &str) -> String {
        format!("(({of}) DIV ({by}))")
    }

    fn joined(&self, parts: &[String]) -> String {
        format!("CONCAT({})", parts.join(", "))
    }
}
