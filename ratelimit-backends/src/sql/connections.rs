//! [`Connections`]: as many as there may be to one database, made when they are needed.
//!
//! Those of a pool that the user gave are borrowed for each call. Those of our own are kept here: a pool of `sqlx` asks the server
//! whether a connection still works each time that it takes one back, which is one more trip.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ratelimit_core::{BoxFuture, Error, ErrorKind};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Pool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::errors::{Failure, failure};

/// A connection that was not used for so long is asked whether it still works.
const STALE: Duration = Duration::from_secs(10);

/// The longest that is waited for others who connect.
const BUSY: Duration = Duration::from_millis(20);

/// How the connections are made.
pub(super) enum Source<D: Database> {
    Own(<D::Connection as Connection>::Options),
    Given(Pool<D>),
}

impl<D: Database> Clone for Source<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(options) => Self::Own(options.clone()),
            Self::Given(pool) => Self::Given(pool.clone()),
        }
    }
}

/// How many there may be, and how long each thing may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) back_off: (Duration, Duration),
}

/// What a new connection of our own is told first.
type Welcome<D> =
    fn(&mut <D as Database>::Connection, Duration) -> BoxFuture<'_, Result<(), sqlx::Error>>;

pub(super) struct Connections<D: Database>(Arc<Inner<D>>);

struct Inner<D: Database> {
    source: Source<D>,
    welcome: Welcome<D>,
    bounds: Bounds,
    permits: Arc<Semaphore>,
    state: Mutex<State<D>>,
}

struct State<D: Database> {
    idle: Vec<(D::Connection, Instant)>,
    /// Until when no attempt to connect is made, what came of the last one, and how long was waited for it.
    refused: Option<(Instant, Error, Duration)>,
}

enum Held<D: Database> {
    Own(D::Connection),
    Given(PoolConnection<D>),
}

impl<D: Database> Held<D> {
    fn connection(&mut self) -> &mut D::Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Given(connection) => connection,
        }
    }

    /// Ends it without a word: what is under way on it may not be over.
    fn break_off(self) {
        if let Self::Given(connection) = self {
            drop(connection.detach());
        }
    }
}

impl<D: Database> Connections<D> {
    pub(super) fn new(source: Source<D>, welcome: Welcome<D>, bounds: Bounds) -> Self {
        let permits = Arc::new(Semaphore::new(bounds.connections));
        let state = Mutex::new(State {
            idle: Vec::new(),
            refused: None,
        });
        Self(Arc::new(Inner {
            source,
            welcome,
            bounds,
            permits,
            state,
        }))
    }

    /// Does something with a connection. It goes on when its caller has gone away: a connection on which something is half
    /// done could not be used again. It is broken off when the time is over.
    pub(super) async fn with<T, W>(&self, work: W) -> Result<T, Failure>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut D::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + 'static,
    {
        let started = Instant::now();
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let permit = permit.map_err(|_| closed())?;
        let inner = Arc::clone(&self.0);
        let done = runtime.spawn(async move { inner.work(work, started, permit).await });
        done.await.map_err(|_| ended())?
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        if self.0.permits.is_closed() {
            return Err(closed());
        }
        Ok(())
    }

    /// Lets go of them. What is under way still ends.
    pub(super) async fn close(&self) {
        self.0.permits.close();
        let idle: Vec<_> = self.0.state().idle.drain(..).collect();
        let all = async {
            for (connection, _) in idle {
                let _ = connection.close().await;
            }
        };
        let _ = timeout(self.0.bounds.timeout, all).await;
    }
}

impl<D: Database> Inner<D> {
    fn state(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work<T, W>(
        &self,
        work: W,
        started: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Result<T, Failure>
    where
        W: for<'c> FnOnce(&'c mut D::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    {
        let mut held = self.take().await?;
        let left = self.bounds.timeout.saturating_sub(started.elapsed());
        if left.is_zero() {
            // Nobody waits any more. The connection is for who comes next.
            self.put(held);
            return Err(too_late(self.bounds.timeout));
        }
        let outcome = timeout(left, work(held.connection())).await;
        let outcome = match outcome {
            Ok(Ok(value)) => {
                self.put(held);
                Ok(value)
            }
            Ok(Err(error)) => {
                let failure = failure(&error);
                if failure.is_told {
                    self.put(held);
                } else {
                    held.break_off();
                    // The others are likely to be broken as well.
                    self.state().idle.clear();
                }
                Err(failure)
            }
            Err(_) => {
                held.break_off();
                Err(too_late(self.bounds.timeout))
            }
        };
        drop(permit);
        outcome
    }

    async fn take(&self) -> Result<Held<D>, Failure> {
        let options = match &self.source {
            Source::Own(options) => options,
            Source::Given(pool) => {
                let given = timeout(self.bounds.connect_timeout, pool.acquire()).await;
                let given = given.map_err(|_| too_late(self.bounds.connect_timeout))?;
                return given.map(Held::Given).map_err(|error| failure(&error));
            }
        };
        loop {
            let Some((mut connection, since)) = self.state().idle.pop() else {
                break;
            };
            if since.elapsed() < STALE {
                return Ok(Held::Own(connection));
            }
            let works = timeout(self.bounds.timeout, connection.ping()).await;
            if matches!(works, Ok(Ok(()))) {
                return Ok(Held::Own(connection));
            }
        }
        if let Some((until, error, _)) = &self.state().refused
            && Instant::now() < *until
        {
            return Err(Failure::from(error.clone()));
        }
        self.connect(options).await.map(Held::Own)
    }

    async fn greet(
        &self,
        options: &<D::Connection as Connection>::Options,
    ) -> Result<D::Connection, sqlx::Error> {
        let mut connection = D::Connection::connect_with(options).await?;
        (self.welcome)(&mut connection, self.bounds.timeout).await?;
        Ok(connection)
    }

    async fn connect(
        &self,
        options: &<D::Connection as Connection>::Options,
    ) -> Result<D::Connection, Failure> {
        let connect = async {
            loop {
                match self.greet(options).await.map_err(|error| failure(&error)) {
                    Err(failure)
                        if failure.is_told && failure.error.kind() == ErrorKind::Timeout =>
                    {
                        // Others make the same file ready, and SQLite does not always wait for them by itself.
                        sleep(BUSY.mul_f64(fastrand::f64())).await;
                    }
                    greeted => return greeted,
                }
            }
        };
        let failed = match timeout(self.bounds.connect_timeout, connect).await {
            Ok(Ok(connection)) => {
                self.state().refused = None;
                return Ok(connection);
            }
            Ok(Err(failure)) => failure,
            Err(_) => too_late(self.bounds.connect_timeout),
        };
        let (shortest, longest) = self.bounds.back_off;
        let mut state = self.state();
        let wait = match &state.refused {
            Some((_, _, before)) => before.saturating_mul(2).clamp(shortest, longest),
            None => shortest,
        };
        // Not all processes are to come back at the same instant.
        let part = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        state.refused = Some((Instant::now() + part, failed.error.clone(), wait));
        Err(failed)
    }

    fn put(&self, held: Held<D>) {
        // One that was borrowed goes back by itself.
        if let Held::Own(connection) = held
            && !self.permits.is_closed()
        {
            self.state().idle.push((connection, Instant::now()));
        }
    }
}

fn too_late(bound: Duration) -> Failure {
    let message = format!("no answer within {bound:?}");
    Error::new(ErrorKind::Timeout, message).into()
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the backend was closed")
}

fn no_runtime() -> Error {
    let message = "a database can be asked on a tokio runtime alone, or by blocking callers";
    Error::new(ErrorKind::Other, message)
}

fn ended() -> Failure {
    let message = "the task that asked the database has ended";
    Error::new(ErrorKind::Connection, message).into()
}
