//! [`Link`]: the way to the servers, by a client of the driver for each runtime that asks.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mongodb::bson::{Document, RawDocumentBuf};
use mongodb::options::{SelectionCriteria, TransactionOptions};
use mongodb::{Client, ClientSession, Database};
use ratelimit_core::{Error, ErrorKind};
use tokio::runtime::Handle;

use super::errors::{Failure, failure, refused_concern};
use super::target::Source;
use crate::runtimes::Runtimes;
use crate::within::within;

pub(super) struct Link {
    source: Source,
    database: String,
    closed: AtomicBool,
    /// Those of our own.
    clients: Mutex<Runtimes<Client>>,
}

impl Link {
    pub(super) fn new(source: Source, database: String) -> Self {
        Self {
            source,
            database,
            closed: AtomicBool::new(false),
            clients: Mutex::default(),
        }
    }

    fn clients(&self) -> MutexGuard<'_, Runtimes<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            let message = "the backend was closed";
            return Err(Error::new(ErrorKind::Closed, message));
        }
        Ok(())
    }

    /// The client of this runtime, made if there is none.
    async fn client(&self) -> Result<Client, Failure> {
        if let Source::Given(client) = &self.source {
            return Ok(client.clone());
        }
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        let known = |clients: &mut Runtimes<Client>| clients.of(runtime.id()).cloned();
        if let Some(client) = known(&mut self.clients()) {
            return Ok(client);
        }
        let options = self.source.options().await?;
        let mut clients = self.clients();
        // Somebody else may have made it meanwhile; nobody makes one that nobody would close.
        self.is_open()?;
        if let Some(client) = known(&mut clients) {
            return Ok(client);
        }
        let client = Client::with_options(options).map_err(|error| failure(&error))?;
        let left = clients.add(&runtime, client.clone());
        drop(clients);
        drop(left);
        Ok(client)
    }

    async fn database(&self) -> Result<Database, Failure> {
        let client = self.client().await?;
        Ok(client.database(&self.database))
    }

    /// Asks the server that writes.
    pub(super) async fn run(&self, command: Document) -> Result<Document, Failure> {
        let database = self.database().await?;
        let answer = database.run_command(command).selection_criteria(primary());
        told(answer.await)
    }

    /// The same of what is written already.
    pub(super) async fn run_raw(&self, command: RawDocumentBuf) -> Result<Document, Failure> {
        let database = self.database().await?;
        let answer = database.run_raw_command(command);
        told(answer.selection_criteria(primary()).await)
    }

    /// Asks it of something that is in no database.
    pub(super) async fn run_admin(&self, command: Document) -> Result<Document, Failure> {
        let client = self.client().await?;
        let database = client.database("admin");
        let answer = database.run_command(command).selection_criteria(primary());
        told(answer.await)
    }

    /// A transaction of one command, which `holds` says whether to keep.
    pub(super) async fn transaction(
        &self,
        command: Document,
        options: TransactionOptions,
        holds: impl Fn(&Document) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let database = self.database().await?;
        let started = database.client().start_session().await;
        let mut session: ClientSession = started.map_err(|error| failure(&error))?;
        let started = session.start_transaction().with_options(options).await;
        started.map_err(|error| failure(&error))?;
        let answer = database.run_command(command).session(&mut session).await;
        let kept = told(answer).and_then(|answer| holds(&answer));
        match kept {
            Ok(true) => {
                let done = session.commit_transaction().await;
                done.map_err(|error| failure(&error))?;
                Ok(true)
            }
            other => {
                // The server gives up by itself what nobody ends.
                let _ = session.abort_transaction().await;
                other
            }
        }
    }

    /// Lets go of the connections of our own.
    pub(super) async fn close(&self, bound: Duration) {
        self.closed.store(true, Ordering::Release);
        let clients: Vec<_> = self.clients().take().collect();
        let here = Handle::try_current().map(|it| it.id()).ok();
        for (runtime, client) in clients {
            // What is on another runtime is closed there, when the client goes.
            if Some(runtime) == here {
                let shut = core::pin::pin!(async { client.shutdown().immediate(true).await });
                let _ = within(bound, shut).await;
            }
        }
    }
}

fn told(answer: Result<Document, mongodb::error::Error>) -> Result<Document, Failure> {
    let answer = answer.map_err(|error| failure(&error))?;
    match refused_concern(&answer) {
        Some(failure) => Err(failure),
        None => Ok(answer),
    }
}

/// The server that writes.
pub(super) fn primary() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(mongodb::options::ReadPreference::Primary)
}

fn no_runtime() -> Error {
    let message = "MongoDB can be asked on a tokio runtime alone, or by blocking callers";
    Error::new(ErrorKind::Other, message)
}
