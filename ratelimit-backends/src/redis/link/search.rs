//! [`Search`]: finds out which node of a cluster has which slot, in a task of its own, once for all who wait.

use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use ratelimit_core::{Error, ErrorKind};
use redis::{Client, cmd};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Failure;
use super::cluster::Shared;
use super::endpoint::Endpoint;
use super::map::{Map, ranges};
use super::pool::{Pool, Sent, no_runtime};
use crate::within::within;

/// What comes of a search, once it has.
type Outcome = Option<Result<(), Error>>;

/// Whether one is under way, and when the next may be.
#[derive(Default)]
pub(super) struct Searches(Mutex<State>);

#[derive(Default)]
struct State {
    under_way: Option<watch::Receiver<Outcome>>,
    failures: u32,
    pause: Option<(Instant, Option<Error>)>,
}

impl Searches {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a search unless one is under way, and says how to wait for it. Soon after the last there is none: it
/// says what came of that, if it failed.
pub(super) fn start(shared: &Arc<Shared>) -> Result<Option<watch::Receiver<Outcome>>, Error> {
    let runtime = Handle::try_current().map_err(|_| no_runtime())?;
    let mut state = shared.searches.state();
    if let Some(under_way) = &state.under_way {
        return Ok(Some(under_way.clone()));
    }
    if let Some((until, error)) = &state.pause
        && Instant::now() < *until
    {
        return error.clone().map_or(Ok(None), Err);
    }
    let (sender, receiver) = watch::channel(None);
    state.under_way = Some(receiver.clone());
    drop(state);
    let search = Search {
        shared: Arc::downgrade(shared),
        sender,
        told: false,
    };
    // On a runtime that shuts down it is dropped at once, and says so.
    runtime.spawn(search.run());
    Ok(Some(receiver))
}

/// Waits until a search has come to something.
pub(super) async fn wait(mut search: watch::Receiver<Outcome>) -> Result<(), Error> {
    let outcome = match search.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone(),
        Err(_) => None,
    };
    outcome.unwrap_or_else(|| Err(ended()))
}

struct Search {
    shared: Weak<Shared>,
    sender: watch::Sender<Outcome>,
    told: bool,
}

impl Search {
    async fn run(mut self) {
        let outcome = match self.shared.upgrade() {
            Some(shared) => ask_around(&shared).await,
            None => Err(ended()),
        };
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Result<(), Error>) {
        self.told = true;
        if let Some(shared) = self.shared.upgrade() {
            let mut state = shared.searches.state();
            state.under_way = None;
            let (shortest, longest) = shared.options.back_off;
            let (pause, error) = match &outcome {
                Ok(()) => {
                    state.failures = 0;
                    (shortest, None)
                }
                Err(error) => {
                    state.failures = state.failures.saturating_add(1);
                    let doubled = 1 << (state.failures - 1).min(20);
                    (shortest.saturating_mul(doubled), Some(error.clone()))
                }
            };
            let pause = pause.min(longest).mul_f64(0.5 + fastrand::f64() / 2.0);
            let until = Instant::now().checked_add(pause);
            state.pause = until.map(|until| (until, error));
        }
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Err(ended()));
        }
    }
}

/// Asks one node after the other until one knows: first those that are known, in any order, then those that
/// the user named.
async fn ask_around(shared: &Arc<Shared>) -> Result<(), Error> {
    let known = shared.map();
    let mut nodes: Vec<_> = known.nodes().cloned().collect();
    fastrand::shuffle(&mut nodes);
    let mut why = None;
    for node in nodes {
        match ask(shared, &known, &node.client, &node.pool).await {
            Ok(map) => return shared.put(map),
            Err(error) => why = Some(error),
        }
    }
    for client in &shared.nodes {
        let pool = Pool::new(Endpoint::Server(Arc::clone(client)), shared.options.clone());
        match ask(shared, &known, client, &pool).await {
            Ok(map) => return shared.put(map),
            // What those say whom the user named is what he can do something about.
            Err(error) => why = Some(error),
        }
    }
    Err(why.unwrap_or_else(ended))
}

async fn ask(shared: &Shared, known: &Map, client: &Client, pool: &Pool) -> Result<Map, Error> {
    let bound = shared.options.connect_timeout.max(Duration::from_millis(1));
    let mut command = cmd("CLUSTER");
    command.arg("SLOTS");
    let sent = Sent {
        command: &command,
        asking: false,
    };
    let answer = within(bound, pin!(pool.call(sent))).await?;
    let answer = answer.map_err(Error::from)?;
    let ranges = ranges(&answer, client).ok_or_else(nonsense)?;
    if ranges.is_empty() {
        let message = "the cluster's node knows of no slots";
        return Err(Error::new(ErrorKind::Connection, message));
    }
    let map = Map::of(&ranges, known, client, &shared.options);
    map.map_err(|error| Failure::Told(error).into())
}

fn nonsense() -> Error {
    let message = "the answer to `CLUSTER SLOTS` makes no sense";
    Error::new(ErrorKind::Protocol, message)
}

fn ended() -> Error {
    let message = "the task that looks for the cluster's nodes has ended before it found any";
    Error::new(ErrorKind::Connection, message)
}
