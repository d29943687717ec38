//! What is made of a database's failures.

use ratelimit_core::{Error, ErrorKind};
use sqlx::error::DatabaseError;

/// A failure, and what it says of what was asked.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// The server itself said so, on a connection that still works.
    pub(super) is_told: bool,
    /// Nothing was done, and the same may well be done now.
    pub(super) again: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            is_told: false,
            again: false,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Failure {
    /// Somebody else was there at the same time. Nothing was done.
    pub(super) fn overtaken() -> Self {
        let message = "others changed the key at the same time, again and again";
        Self {
            error: Error::new(ErrorKind::Overloaded, message),
            is_told: true,
            again: true,
        }
    }
}

/// What is made of an error. Messages of the server are passed on: they have names, but no passwords.
pub(super) fn failure(error: &sqlx::Error) -> Failure {
    let (kind, is_told, again) = match error {
        sqlx::Error::Database(told) => {
            let (kind, again) = kind_of(&**told);
            (kind, !ends(&**told, kind), again)
        }
        sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => {
            (ErrorKind::Configuration, false, false)
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
            (ErrorKind::Connection, false, false)
        }
        sqlx::Error::PoolTimedOut => (ErrorKind::Timeout, false, false),
        sqlx::Error::PoolClosed => (ErrorKind::Closed, false, false),
        _ => (ErrorKind::Protocol, false, false),
    };
    let hint = match kind {
        ErrorKind::Configuration if is_told && !says_database(error) => {
            "; `SqlBackend::connect` makes the table, `SqlBuilder::schema` says how it is made"
        }
        _ => "",
    };
    let message = match error {
        sqlx::Error::Database(told) => format!("{}{hint}", told.message()),
        other => other.to_string(),
    };
    Failure {
        error: Error::new(kind, message),
        is_told,
        again,
    }
}

/// Whether the database itself is missing, which nobody makes for the user.
fn says_database(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(told) = error else {
        return false;
    };
    told.code().is_some_and(|code| code == "3D000") || told.message().contains("nknown database")
}

/// Whether nothing more can be done with the connection.
fn ends(told: &dyn DatabaseError, kind: ErrorKind) -> bool {
    // Without room, SQLite ends the transaction by itself, of which `sqlx` is not told.
    #[cfg(feature = "sqlite")]
    if told
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        return kind == ErrorKind::Refused;
    }
    let _ = told;
    kind == ErrorKind::Connection
}

/// What kind it is; and whether the same may be asked again at once.
fn kind_of(told: &dyn DatabaseError) -> (ErrorKind, bool) {
    let code = told.code().unwrap_or_default();
    #[cfg(feature = "sqlite")]
    if let Some(told) = told.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
        return (by_number(&code, told.message()), false);
    }
    by_state(&code, told.message())
}

/// By the code of the SQL standard, which both servers know.
fn by_state(code: &str, message: &str) -> (ErrorKind, bool) {
    match code {
        // Two transactions that wait for each other; one that cannot be put into an order.
        "40001" | "40P01" => (ErrorKind::Overloaded, true),
        // Nothing to store: the clock stepped back while PostgreSQL decided, and nothing was done.
        "23502" => (ErrorKind::Protocol, true),
        // A lock that was waited for in vain, `statement_timeout`, `max_statement_time`.
        "55P03" | "57014" | "70100" => (ErrorKind::Timeout, false),
        "53300" | "08004" => (ErrorKind::Overloaded, false),
        // No table, no column, no database.
        "42P01" | "42703" | "42S02" | "42S22" | "3D000" | "3F000" | "42000" => {
            if message.contains("denied") {
                (ErrorKind::Refused, false)
            } else {
                (ErrorKind::Configuration, false)
            }
        }
        // Passwords and rights, a server or a transaction that only reads, a disk or memory that is full.
        "28000" | "28P01" | "42501" | "25006" | "53100" | "53200" => (ErrorKind::Refused, false),
        "HY000" => by_message(message),
        _ if code.starts_with("08") || code.starts_with("57P") => (ErrorKind::Connection, false),
        _ => (ErrorKind::Protocol, false),
    }
}

/// By the result codes of SQLite, of which the lowest byte says what it is.
#[cfg(feature = "sqlite")]
fn by_number(code: &str, message: &str) -> ErrorKind {
    let code: u32 = code.parse().unwrap_or_default();
    match code & 0xff {
        // Others write, and go on to.
        5 | 6 => ErrorKind::Timeout,
        // Rights, memory, a file that is only read, input and output, full, cannot be opened, no database.
        3 | 7 | 8 | 10 | 13 | 14 | 23 | 26 => ErrorKind::Refused,
        1 if message.contains("no such") => ErrorKind::Configuration,
        _ => ErrorKind::Protocol,
    }
}

/// MySQL has one code for much.
fn by_message(message: &str) -> (ErrorKind, bool) {
    let says = |words: &str| message.contains(words);
    if says("Lock wait timeout")
        || says("max_statement_time")
        || says("maximum statement execution")
    {
        (ErrorKind::Timeout, false)
    } else if says("read-only") || says("read only") || says("full") {
        (ErrorKind::Refused, false)
    } else if says("Record has changed since last read") {
        (ErrorKind::Overloaded, true)
    } else {
        (ErrorKind::Protocol, false)
    }
}
