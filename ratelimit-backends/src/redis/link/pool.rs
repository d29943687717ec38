//! [`Pool`]: a few connections to one server, made when they are needed, shared by all callers, and made
//! anew when they break.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use ratelimit_core::{Error, ErrorKind};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};
use tokio::runtime::Handle;

use super::attempt::{self, Attempt};
use super::endpoint::Endpoint;
use super::state::{Finding, Found, Place};
use super::{Failure, LinkOptions};
use crate::redis::errors;

pub(super) struct Pool {
    shared: Arc<Shared>,
}

/// What is sent: a command, if need be behind the word that a node of a cluster wants to hear of one that is
/// on its way to it.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) command: &'a Cmd,
    pub(super) asking: bool,
}

/// What attempts and connections share with the pool.
pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) options: LinkOptions,
    pub(super) places: Box<[Place]>,
    turn: AtomicUsize,
    outstanding: AtomicUsize,
    closed: AtomicBool,
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, options: LinkOptions) -> Self {
        let count = options.connections.max(1);
        Self {
            shared: Arc::new(Shared {
                endpoint,
                options,
                places: (0..count).map(|_| Place::default()).collect(),
                turn: AtomicUsize::new(0),
                outstanding: AtomicUsize::new(0),
                closed: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        self.shared.is_open()
    }

    /// Lets go of all connections. What is under way ends on them; later calls fail.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for place in &self.shared.places {
            place.abandon();
        }
    }

    /// One command and its answer.
    pub(super) async fn call(&self, sent: Sent<'_>) -> Result<Value, Failure> {
        let shared = &*self.shared;
        let _outstanding = Outstanding::count(shared).map_err(Failure::Unasked)?;
        let place = shared.choose();
        let connection = self.connection(place).await.map_err(Failure::Unasked)?;
        let Found {
            mut wire,
            generation,
            health,
        } = connection;
        let waiting = Waiting {
            shared,
            place,
            generation,
            started: Instant::now(),
            over: false,
        };
        let answer = sent.on(&mut wire).await;
        waiting.ends();
        match answer {
            Ok(value) => {
                health.answered();
                Ok(value)
            }
            Err(error) => {
                shared.noticed(place, generation, &error);
                Err(Failure::Told(error))
            }
        }
    }

    /// The connection of a place, made first if there is none.
    async fn connection(&self, place: usize) -> Result<Found, Error> {
        let mut made = match self.shared.places[place].find(Instant::now()) {
            Finding::Found(found) => return Ok(found),
            Finding::Wait(made) => made,
            Finding::Fail(error) => return Err(error),
            Finding::Make(order) => {
                let made = order.made.clone();
                let attempt = Attempt::new(&self.shared, place, order);
                // Dropped unmade, it says so to those who wait.
                let runtime = Handle::try_current().map_err(|_| no_runtime())?;
                runtime.spawn(attempt.run());
                made
            }
        };
        // A connection that is made while the link is closed is not kept.
        let outcome = match made.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or_else(|| Err(attempt::ended()))
    }
}

impl Sent<'_> {
    async fn on(self, wire: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        if !self.asking {
            return self.command.query_async(wire).await;
        }
        // What is sent as one is not torn apart by what others send.
        let mut both = redis::pipe();
        both.cmd("ASKING")
            .ignore()
            .add_command(self.command.clone());
        let mut answers: Vec<Value> = both.query_async(wire).await?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }
}

impl Shared {
    pub(super) fn is_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        Ok(())
    }

    /// The next place in turn that has a connection; if none has, the next in turn.
    fn choose(&self) -> usize {
        let count = self.places.len();
        if count == 1 {
            return 0;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let mut order = (first..count).chain(0..first);
        order
            .find(|place| self.places[*place].is_up())
            .unwrap_or(first)
    }

    /// Draws the conclusion from a failed call.
    fn noticed(&self, place: usize, generation: u64, error: &RedisError) {
        let place = &self.places[place];
        // It will not get better there, but another server may be the master soon.
        let useless = errors::is_read_only(error);
        let broken = useless || error.is_unrecoverable_error();
        if broken {
            let why = || errors::failed(error.clone());
            place.discard(generation, useless, why, self.options.back_off);
        }
    }

    fn timed_out(&self, place: usize, generation: u64) {
        let place = &self.places[place];
        if place.timed_out_often(generation) {
            let error = || {
                let message = "the connection did not answer any more";
                Error::new(ErrorKind::Connection, message)
            };
            place.discard(generation, false, error, self.options.back_off);
        }
    }
}

/// One of the calls that are under way.
struct Outstanding<'a>(&'a AtomicUsize);

impl<'a> Outstanding<'a> {
    fn count(shared: &'a Shared) -> Result<Self, Error> {
        shared.is_open()?;
        let most = shared.options.outstanding;
        let counted = Self(&shared.outstanding);
        if counted.0.fetch_add(1, Ordering::Relaxed) >= most {
            let message = format!("{most} calls are under way already");
            return Err(Error::new(ErrorKind::Overloaded, message));
        }
        Ok(counted)
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that waits for its answer; dropped before that, it has gone away or its time is over.
struct Waiting<'a> {
    shared: &'a Shared,
    place: usize,
    generation: u64,
    started: Instant,
    over: bool,
}

impl Waiting<'_> {
    fn ends(mut self) {
        self.over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Who waited for a connection first has less time left for the answer.
        let most_of_it = self.shared.options.timeout.mul_f64(0.875);
        if !self.over && self.started.elapsed() >= most_of_it {
            self.shared.timed_out(self.place, self.generation);
        }
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the Redis backend was closed")
}

pub(super) fn no_runtime() -> Error {
    let message = "Redis can be asked on a tokio runtime alone, or by blocking callers";
    Error::new(ErrorKind::Unsupported, message)
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}
