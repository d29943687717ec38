//! [`Attempt`]: the making of a connection.

use core::time::Duration;
use std::sync::{Arc, Weak};

use ratelimit_core::{Error, ErrorKind};

use super::Shared;
use super::state::{Found, Order};
use crate::redis::errors::failed;
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

    pub(super) async fn run(mut self) {
        let outcome = self.connect().await;
        self.tell(outcome);
    }

    async fn connect(&self) -> Result<Found, Error> {
        let Some(shared) = self.shared.upgrade() else {
            return Err(ended());
        };
        shared.is_open()?;
        let (place, generation) = (self.place, self.order.generation);
        let (topology, options) = (shared.topology.clone(), shared.options.clone());
        drop(shared);
        let pool = Weak::clone(&self.shared);
        let back_off = options.back_off;
        let lost = move || {
            if let Some(shared) = pool.upgrade() {
                shared.places[place].discard(generation, false, closed, back_off);
            }
        };
        let mut bound = options.connect_timeout;
        if let super::Topology::Sentinel(_) = topology {
            // One of them may be frozen.
            bound += SENTINEL;
        }
        let attempt = usize::try_from(self.order.failures).unwrap_or(0);
        let wire = within(bound, topology.connect(attempt, lost)).await;
        let wire = wire.map_err(|_| late(bound))?.map_err(failed)?;
        Ok(Found {
            wire,
            generation,
            health: Arc::default(),
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

pub(super) fn ended() -> Error {
    Error::new(
        ErrorKind::Connection,
        "the task that connects to Redis has ended before it could",
    )
}

fn closed() -> Error {
    Error::new(ErrorKind::Connection, "the server closed the connection")
}

fn late(bound: Duration) -> Error {
    let message = format!("no connection within {bound:?}");
    Error::new(ErrorKind::Timeout, message)
}
