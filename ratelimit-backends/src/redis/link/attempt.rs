//! [`Attempt`]: the making of a connection.

use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, Weak};

use ratelimit_core::{Error, ErrorKind};
use tokio::sync::oneshot;

use super::endpoint::Endpoint;
use super::pool::Shared;
use super::state::{Found, Health, Order};
use crate::redis::errors::failed_to_log_in;
use crate::within::within;

/// How long one Sentinel may take to say where the master is.
const SENTINEL: Duration = Duration::from_millis(1_500);

pub(super) struct Attempt {
    /// The pool may be dropped meanwhile.
    shared: Weak<Shared>,
    place: usize,
    order: Order,
    told: bool,
}

impl Attempt {
    pub(super) fn new(shared: &Arc<Shared>, place: usize, order: Order) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            place,
            order,
            told: false,
        }
    }

    /// Connects, and then stays as long as the connection is used: what drives it is a task of the same runtime,
    /// and nobody else notices when that shuts down.
    pub(super) async fn run(mut self) {
        let (used, unused) = oneshot::channel();
        let (place, generation) = (self.place, self.order.generation);
        let outcome = self.connect(used).await;
        let is_made = outcome.is_ok();
        self.tell(outcome);
        if is_made {
            let pool = Weak::clone(&self.shared);
            drop(self);
            let gone = Gone(pool, place, generation);
            let _ = unused.await;
            drop(gone);
        }
    }

    async fn connect(&self, used: oneshot::Sender<()>) -> Result<Found, Error> {
        let Some(shared) = self.shared.upgrade() else {
            return Err(ended());
        };
        shared.is_open()?;
        let (place, generation) = (self.place, self.order.generation);
        let (endpoint, options) = (shared.endpoint.clone(), shared.options.clone());
        drop(shared);
        let gone = Gone(Weak::clone(&self.shared), place, generation);
        let lost = move || gone.discard();
        let mut bound = options.connect_timeout;
        if let Endpoint::Master(..) = endpoint {
            // One of them may be frozen.
            bound = bound.saturating_add(SENTINEL);
        }
        let attempt = usize::try_from(self.order.failures).unwrap_or(0);
        let wire = within(bound, pin!(endpoint.connect(attempt, lost))).await;
        let failed = |error| failed_to_log_in(error, &endpoint.secrets());
        let wire = wire.map_err(|_| late(bound))?.map_err(failed)?;
        Ok(Found {
            wire,
            generation,
            health: Arc::new(Health::of(used)),
        })
    }

    /// Once. Who comes later finds it in its place, who came earlier is told here.
    fn tell(&mut self, outcome: Result<Found, Error>) {
        self.told = true;
        if let Some(shared) = self.shared.upgrade() {
            let place = &shared.places[self.place];
            place.made(self.order.generation, &outcome, shared.options.back_off);
        }
        self.order.sender.send_replace(Some(outcome));
    }
}

/// The runtime has shut down, or the client panicked, as it does on a runtime without I/O.
impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Err(ended()));
        }
    }
}

/// A connection that has ended, when it is dropped.
struct Gone(Weak<Shared>, usize, u64);

impl Gone {
    fn discard(&self) {
        if let Some(shared) = self.0.upgrade() {
            let closed = || {
                let message = "the connection was closed";
                Error::new(ErrorKind::Connection, message)
            };
            shared.places[self.1].discard(self.2, false, closed, shared.options.back_off);
        }
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.discard();
    }
}

pub(super) fn ended() -> Error {
    Error::new(
        ErrorKind::Connection,
        "the task that connects to Redis has ended before it could",
    )
}

fn late(bound: Duration) -> Error {
    let message = format!("no connection within {bound:?}");
    Error::new(ErrorKind::Timeout, message)
}
