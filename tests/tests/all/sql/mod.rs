//! The SQL backend on real databases.
//!
//! - here: the conformance suite on each of them;
//! - `faults`: what is said when one fails or is not as it should be; `tls`: what is asked over TLS;
//! - `clock`: one that steps back in the middle of a decision; `many`: several processes; `sweep`: rows that are over; `full`: no room is left; `trips`: how often it is asked, and over a line that breaks.

mod clock;
mod faults;
mod full;
mod many;
mod sweep;
mod tls;
mod trips;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_backends::sql::{SqlBackend, SqlBuilder};
use ratelimit_core::{Backend, BoxFuture};
use ratelimit_tests::conformance::{Store, Time};
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;

/// Time enough on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// A database that is asked by what is built.
struct Started<S, B>(S, B);

impl<S: Send + Sync, B: Fn(&S) -> SqlBuilder + Send + Sync> Store for Started<S, B> {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let backend = self.1(&self.0).timeout(PATIENCE);
        let backend = match time {
            Time::Injected(clock) => backend.clock(clock),
            Time::Own => backend,
        };
        Box::pin(async {
            Arc::new(backend.connect().await.expect("it is there")) as Arc<dyn Backend>
        })
    }
}

mod postgres {
    use super::*;

    ratelimit_tests::conformance!(Started(Postgres::start(), |server: &Postgres| {
        SqlBackend::builder(server.url())
    }));
}

mod mariadb {
    use super::*;

    ratelimit_tests::conformance!(Started(MariaDb::start(), |server: &MariaDb| {
        SqlBackend::builder(server.url())
    }));
}

mod sqlite {
    use super::*;

    ratelimit_tests::conformance!(Started(File::new(), |file: &File| SqlBackend::builder(
        file.url()
    )));
}

/// A database of SQLite, in a folder that goes with it.
struct File(ratelimit_tests::servers::Folder);

impl File {
    fn new() -> Self {
        Self(ratelimit_tests::servers::Folder::new())
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.0.file("limits.db"))
    }
}
