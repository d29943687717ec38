//! [`Store`]: a database, whichever it is; and what is asked of one, and told.

use std::sync::Arc;

use ratelimit_core::{Clock, Error, ErrorKind, Timestamp};

use super::errors::Failure;
use crate::shape::{Numbers, Shape};

/// The table, and whose clock decides.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) clock: Option<Arc<dyn Clock>>,
}

impl Table {
    /// The time in nanoseconds, unless the server's clock tells it.
    pub(super) fn now(&self) -> Option<i64> {
        let clock = self.clock.as_ref()?;
        Some(i64::try_from(clock.now().as_nanos()).unwrap_or(i64::MAX))
    }
}

/// The row that says which version the table has; no key is called that.
pub(super) const VERSION_ROW: &str = "version";

/// The version that is known here.
pub(super) const VERSION: u8 = 1;

/// Equal checks of one key, which one statement decides one after the other.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) count: u32,
    /// Units of each.
    pub(super) takes: u32,
    /// Nanoseconds by which each may be delayed.
    pub(super) delay: u64,
    pub(super) numbers: Vec<Numbers>,
}

/// What a statement says to them.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) now: Timestamp,
    /// How many are admitted; none if others have to decide.
    pub(super) admitted: Option<u32>,
    pub(super) before: Vec<u8>,
    /// Somebody else has done something at the same time: nothing was done, and it is to be asked again.
    pub(super) again: bool,
}

impl Told {
    pub(super) fn new(
        now: i64,
        admitted: Option<u32>,
        before: Vec<u8>,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self {
            now: instant(now)?,
            admitted,
            before,
            again: false,
        })
    }

    #[cfg(feature = "postgres")]
    pub(super) fn again() -> Self {
        Self {
            now: Timestamp::default(),
            admitted: None,
            before: Vec::new(),
            again: true,
        }
    }
}

/// What is stored of a key; no bytes for nothing.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) state: Vec<u8>,
    /// Nanoseconds.
    pub(super) expires: i64,
}

/// Makes something of the time and of the states of some keys, and says what is stored then.
pub(super) type Changing<T> = Box<dyn FnOnce(Timestamp, &[Vec<u8>]) -> (T, Vec<Change>) + Send>;

/// The names and the states of some keys.
pub(super) type States = Vec<(String, Vec<u8>)>;

/// Some rows in the order of their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    pub(super) last: Option<String>,
    pub(super) rows: u64,
    /// The names of those that are over.
    pub(super) over: Vec<String>,
    pub(super) now: i64,
}

impl Page {
    pub(super) fn of(
        rows: impl Iterator<Item = Result<(String, i64, i64), sqlx::Error>>,
    ) -> Result<Self, sqlx::Error> {
        let mut page = Self::default();
        for row in rows {
            let (name, expires, now) = row?;
            page.now = now;
            page.rows += 1;
            if expires <= now {
                page.over.push(name.clone());
            }
            page.last = Some(name);
        }
        Ok(page)
    }
}

pub(super) fn instant(nanos: i64) -> Result<Timestamp, sqlx::Error> {
    let nanos = u64::try_from(nanos);
    nanos
        .map(Timestamp::from_nanos)
        .map_err(|_| wrong("the server's clock is before 1970"))
}

/// What a database says that cannot be.
pub(super) fn wrong(message: &str) -> sqlx::Error {
    sqlx::Error::Protocol(message.to_owned())
}

/// What becomes of an answer that makes no sense.
pub(super) fn nonsense() -> Error {
    Error::new(ErrorKind::Protocol, "the database's answer makes no sense")
}

/// A database. Each variant does what the methods say in its own way.
pub(super) enum Store {
    #[cfg(feature = "postgres")]
    Postgres(super::postgres::PostgresStore),
    #[cfg(feature = "mysql")]
    MySql(super::mysql::MySqlStore),
    #[cfg(feature = "sqlite")]
    Sqlite(super::sqlite::SqliteStore),
}

macro_rules! each {
    ($self:expr, $store:ident => $value:expr) => {
        match $self {
            #[cfg(feature = "postgres")]
            Store::Postgres($store) => $value,
            #[cfg(feature = "mysql")]
            Store::MySql($store) => $value,
            #[cfg(feature = "sqlite")]
            Store::Sqlite($store) => $value,
        }
    };
}

impl Store {
    /// Whether a statement can decide checks of this shape.
    pub(super) fn decides(&self, _: Shape) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => true,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => true,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
        }
    }

    /// Decides by a statement. Each key is asked for once, and their names are sorted: it is the order in which rows are locked.
    pub(super) async fn decide(
        &self,
        shape: Shape,
        asked: Vec<Asked>,
    ) -> Result<Vec<Told>, Failure> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.decide(shape, asked).await,
            #[cfg(feature = "mysql")]
            Self::MySql(store) => store.decide(shape, asked).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                let _ = (shape, asked);
                Err(nonsense().into())
            }
        }
    }

    /// Locks these keys, lets something work on their states, and stores what it says, all at once. The names are sorted.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        names: Vec<String>,
        changing: Changing<T>,
    ) -> Result<T, Failure> {
        each!(self, store => store.change(names, changing).await)
    }

    /// The time, and the states of these keys.
    pub(super) async fn look(
        &self,
        names: Vec<String>,
    ) -> Result<(Timestamp, Vec<Vec<u8>>), Failure> {
        each!(self, store => store.look(names).await)
    }

    /// Removes these keys.
    pub(super) async fn remove(&self, names: Vec<String>) -> Result<(), Failure> {
        each!(self, store => store.remove(names).await)
    }

    /// So many rows behind that name.
    pub(super) async fn page(&self, behind: String, rows: u32) -> Result<Page, Failure> {
        each!(self, store => store.page(behind, rows).await)
    }

    /// Removes those of these keys that are over, and says how many.
    pub(super) async fn expire(&self, names: Vec<String>, now: i64) -> Result<u64, Failure> {
        each!(self, store => store.expire(names, now).await)
    }

    /// Which version the server has, as it says it.
    pub(super) async fn version(&self) -> Result<String, Failure> {
        each!(self, store => store.version().await)
    }

    /// Makes the table, if it is not there.
    pub(super) async fn migrate(&self) -> Result<(), Failure> {
        each!(self, store => store.migrate().await)
    }

    /// The version of the table.
    pub(super) async fn table_version(&self) -> Result<Option<Vec<u8>>, Failure> {
        each!(self, store => store.table_version().await)
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        each!(self, store => store.connections.is_open())
    }

    pub(super) async fn close(&self) {
        each!(self, store => store.connections.close().await);
    }
}

/// The states of these keys, of which some were found.
pub(super) fn in_order(names: &[String], found: States) -> Vec<Vec<u8>> {
    let mut found: std::collections::HashMap<_, _> = found.into_iter().collect();
    names
        .iter()
        .map(|name| found.remove(name).unwrap_or_default())
        .collect()
}

/// Those that are stored and those that are removed.
pub(super) fn split(changes: Vec<Change>) -> (Vec<Change>, Vec<String>) {
    let (stored, removed): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|change| !change.state.is_empty());
    (
        stored,
        removed.into_iter().map(|change| change.name).collect(),
    )
}
