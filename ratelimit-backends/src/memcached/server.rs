//! [`Server`]: one server, to which a client for each runtime connects when it is needed, and anew when that breaks.

use core::pin::pin;
use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use memcache::exp::{AsyncMetaClient, Operation};
use ratelimit_core::{Error, ErrorKind};
use tokio::runtime::{Handle, Id};
use tokio::sync::watch;

use super::errors::{failed, is_lost};
use crate::runtimes::Runtimes;
use crate::within::within;

/// A server takes items of so many bytes, unless it was told otherwise.
const ITEM: usize = 1024 * 1024;

/// What of an item is not its value: its name, and what the server keeps of it besides.
const BESIDES: usize = 1024;

/// How many connections there are, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) back_off: (Duration, Duration),
}

pub(super) struct Server {
    pub(super) address: String,
    bounds: Bounds,
    /// The largest value.
    largest: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ways: Runtimes<Way>,
    closed: bool,
}

/// What came of an attempt to connect, once it is over.
type Outcome = Option<Result<AsyncMetaClient, Error>>;

/// The way to the server from one runtime.
struct Way {
    client: Client,
    /// How long no attempt was made after the last one, which failed.
    waited: Option<Duration>,
}

enum Client {
    Missing,
    /// A task makes it.
    Coming(watch::Receiver<Outcome>),
    There(AsyncMetaClient),
    /// No attempt is made until then, after one that failed so.
    Refused(Instant, Error),
}

impl Server {
    pub(super) fn new(address: String, bounds: Bounds) -> Self {
        Self {
            address,
            bounds,
            largest: AtomicUsize::new(ITEM - BESIDES),
            state: Mutex::default(),
        }
    }

    /// The largest value that it takes: what is larger makes it forget the key.
    pub(super) fn largest(&self) -> usize {
        self.largest.load(Ordering::Relaxed)
    }

    /// It takes items of so many bytes.
    pub(super) fn takes(&self, item: usize) {
        self.holds(item.saturating_sub(BESIDES));
    }

    /// It takes values of so many bytes.
    pub(super) fn holds(&self, largest: usize) {
        self.largest.store(largest, Ordering::Relaxed);
    }

    /// Does several things in one trip, with an answer for each, in order.
    pub(super) async fn run<O: Operation + Send + Sync>(
        self: &Arc<Self>,
        operations: Vec<O>,
    ) -> Vec<Result<O::Output, Error>>
    where
        O::Output: Send,
    {
        let count = operations.len();
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return (0..count).map(|_| Err(error.clone())).collect(),
        };
        let mut operations = operations;
        let done = if count == 1 {
            match operations.pop() {
                Some(operation) => vec![client.run(operation).await],
                None => Vec::new(),
            }
        } else {
            match client.run_many(operations).await {
                Ok(done) => done,
                Err(failure) => {
                    let error = failed(&self.address, &failure);
                    return (0..count).map(|_| Err(error.clone())).collect();
                }
            }
        };
        if done.iter().any(|it| it.as_ref().is_err_and(is_lost)) {
            self.is_broken();
        }
        done.into_iter()
            .map(|done| done.map_err(|failure| failed(&self.address, &failure)))
            .collect()
    }

    /// The client, which is made by a task if it is not there: who is tired of waiting leaves it to who comes later.
    async fn client(self: &Arc<Self>) -> Result<AsyncMetaClient, Error> {
        let mut coming = match self.found()? {
            Found::There(client) => return Ok(client),
            Found::Coming(coming) => coming,
            Found::ToMake(runtime, sender, coming) => {
                let attempt = Attempt {
                    server: Arc::clone(self),
                    runtime: runtime.id(),
                    sender,
                };
                runtime.spawn(attempt.run());
                coming
            }
        };
        let outcome = coming.wait_for(Option::is_some).await;
        match outcome.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(ended()),
        }
    }

    fn found(&self) -> Result<Found, Error> {
        let mut state = self.state();
        if state.closed {
            return Err(closed());
        }
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        let waited = match state.ways.of(runtime.id()) {
            None => None,
            Some(way) => match &way.client {
                Client::There(client) => return Ok(Found::There(client.clone())),
                Client::Coming(coming) => return Ok(Found::Coming(coming.clone())),
                Client::Refused(until, error) if Instant::now() < *until => {
                    return Err(error.clone());
                }
                Client::Missing | Client::Refused(..) => Some(way),
            },
        };
        let (sender, coming) = watch::channel(None);
        let client = Client::Coming(coming.clone());
        let left = match waited {
            Some(way) => {
                way.client = client;
                Vec::new()
            }
            None => state.ways.add(
                &runtime,
                Way {
                    client,
                    waited: None,
                },
            ),
        };
        drop(state);
        drop(left);
        Ok(Found::ToMake(runtime, sender, coming))
    }

    async fn connect(&self) -> Result<AsyncMetaClient, Error> {
        let connections = self.bounds.connections;
        let connect = async {
            // Whoever asks keeps the time.
            let client = AsyncMetaClient::builder()
                .max_connections(Some(connections))
                .max_idle(connections)
                .connect_timeout(None)
                .io_timeout(None)
                .connect_async(self.address.clone())
                .await?;
            client.noop().await?;
            Ok(client)
        };
        let bound = self.bounds.connect_timeout;
        match within(bound, pin!(connect)).await {
            Ok(made) => made.map_err(|failure| failed(&self.address, &failure)),
            Err(_) => {
                let message = format!(
                    "memcached at {}: no connection within {bound:?}",
                    self.address
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// The client of this runtime is made anew, which finds out as well where the server is now.
    fn is_broken(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if let Some(way) = self.state().ways.of(runtime.id())
            && let Client::There(_) = way.client
        {
            way.client = Client::Missing;
        }
    }

    /// Lets go of its connections. What is under way still ends.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let ways: Vec<_> = state.ways.take().collect();
        drop(state);
        drop(ways);
    }

    fn made(&self, runtime: Id, outcome: &Result<AsyncMetaClient, Error>) {
        let mut state = self.state();
        let way = state.ways.of(runtime);
        let Some(way) = way.filter(|way| matches!(way.client, Client::Coming(_))) else {
            return;
        };
        match outcome {
            Ok(client) => {
                way.client = Client::There(client.clone());
                way.waited = None;
            }
            Err(error) => {
                let (shortest, longest) = self.bounds.back_off;
                let wait = match way.waited {
                    Some(before) => before.saturating_mul(2).clamp(shortest, longest),
                    None => shortest,
                };
                // Not all processes are to come back at the same instant.
                let part = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
                way.client = Client::Refused(Instant::now() + part, error.clone());
                way.waited = Some(wait);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found {
    There(AsyncMetaClient),
    Coming(watch::Receiver<Outcome>),
    ToMake(Handle, watch::Sender<Outcome>, watch::Receiver<Outcome>),
}

/// The making of a client, which tells of its end whatever happens.
struct Attempt {
    server: Arc<Server>,
    runtime: Id,
    sender: watch::Sender<Outcome>,
}

impl Attempt {
    async fn run(self) {
        let outcome = self.server.connect().await;
        self.tell(outcome);
    }

    fn tell(&self, outcome: Result<AsyncMetaClient, Error>) {
        self.server.made(self.runtime, &outcome);
        self.sender.send_replace(Some(outcome));
    }
}

/// The runtime has shut down, or the client panicked, as it does on a runtime without I/O.
impl Drop for Attempt {
    fn drop(&mut self) {
        if self.sender.borrow().is_none() {
            self.tell(Err(ended()));
        }
    }
}

fn ended() -> Error {
    let message = "the task that connects to memcached has ended before it could";
    Error::new(ErrorKind::Connection, message)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the backend was closed")
}

fn no_runtime() -> Error {
    let message = "memcached can be asked on a tokio runtime alone, or by blocking callers";
    Error::new(ErrorKind::Other, message)
}
