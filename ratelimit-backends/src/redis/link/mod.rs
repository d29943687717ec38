//! [`Link`]: the way to the server that decides.
//!
//! - `endpoint`: how to connect to a server; `pool`: a few connections to one.
//! - `state`: what a place of a pool holds, and what follows from what happens to it; `attempt`: the making of a
//!   connection, in a task of its own: it goes on when the caller that needed it first has gone, and everybody waits for
//!   the same one.
//! - `cluster`: many servers, each with a pool; `map`: which of them has which slot; `search`: how that is found out.

mod attempt;
mod cluster;
mod endpoint;
mod map;
mod pool;
mod search;
mod state;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::Error;
use redis::{Client, Cmd, RedisError, Value};

use super::errors;
use super::secrets::Secrets;
use cluster::Cluster;
use endpoint::Endpoint;
use pool::{Pool, Sent};

pub(super) use endpoint::MakeSentinelClient;

/// Where the servers are.
#[derive(Clone)]
pub(super) enum Topology {
    Standalone(Arc<Client>),
    /// The Sentinels, and what logs in to them and to the master.
    Sentinel(Arc<MakeSentinelClient>, Secrets),
    /// Some nodes of the cluster.
    Cluster(Vec<Arc<Client>>),
}

/// How connections are made and kept.
#[derive(Clone, Debug)]
pub(super) struct LinkOptions {
    /// How many there are to a server at most.
    pub(super) connections: usize,
    /// How long an answer may take.
    pub(super) timeout: Duration,
    /// How long it may take to connect.
    pub(super) connect_timeout: Duration,
    /// The shortest and the longest wait after a failure.
    pub(super) back_off: (Duration, Duration),
    /// How many calls to a server may be under way.
    pub(super) outstanding: usize,
}

/// Why a call has no answer.
pub(super) enum Failure {
    /// What the client says, of the server or of the connection.
    Told(RedisError),
    /// There was no connection to ask on.
    Unasked(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Told(error) => errors::failed(error),
            Failure::Unasked(error) => error,
        }
    }
}

pub(super) struct Link(Servers);

enum Servers {
    One(Pool),
    Cluster(Cluster),
}

impl Link {
    pub(super) fn new(topology: Topology, options: LinkOptions) -> Self {
        let endpoint = match topology {
            Topology::Standalone(client) => Endpoint::Server(client),
            Topology::Sentinel(make, secrets) => Endpoint::Master(make, secrets),
            Topology::Cluster(nodes) => {
                return Self(Servers::Cluster(Cluster::new(nodes, options)));
            }
        };
        Self(Servers::One(Pool::new(endpoint, options)))
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.0, Servers::Cluster(_))
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        match &self.0 {
            Servers::One(pool) => pool.is_open(),
            Servers::Cluster(cluster) => cluster.is_open(),
        }
    }

    /// Lets go of all connections. What is under way ends on them; later calls fail.
    pub(super) fn close(&self) {
        match &self.0 {
            Servers::One(pool) => pool.close(),
            Servers::Cluster(cluster) => cluster.close(),
        }
    }

    /// One command about the keys of a slot, and its answer.
    pub(super) async fn call(&self, slot: u16, command: &Cmd) -> Result<Value, Failure> {
        match &self.0 {
            Servers::One(pool) => {
                let asking = false;
                pool.call(Sent { command, asking }).await
            }
            Servers::Cluster(cluster) => cluster.call(slot, command).await,
        }
    }

    /// A command to every server that decides, and their answers.
    pub(super) async fn call_all(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        match &self.0 {
            Servers::One(_) => Ok(vec![self.call(0, command).await?]),
            Servers::Cluster(cluster) => cluster.call_all(command).await,
        }
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a client knows has passwords.
        f.write_str(match self {
            Self::Standalone(_) => "Standalone",
            Self::Sentinel(..) => "Sentinel",
            Self::Cluster(_) => "Cluster",
        })
    }
}
