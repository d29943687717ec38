//! [`Topology`]: where the servers are, and how to connect to the one that decides.

use core::fmt;
use std::sync::Arc;

use redis::aio::{ConnectionLike, MultiplexedConnection, SendError};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, PushInfo, PushKind, RedisFuture, RedisResult,
    Value,
};

/// Makes the client that asks the Sentinels; told how often it was before, so that not always the same
/// of them comes first.
pub(super) type MakeSentinelClient = dyn Fn(usize) -> RedisResult<SentinelClient> + Send + Sync;

#[derive(Clone)]
pub(super) enum Topology {
    Standalone(Client),
    Sentinel(Arc<MakeSentinelClient>),
    Cluster(ClusterClient),
}

/// A connection, which many callers can use at the same time.
#[derive(Clone)]
pub(super) enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Topology {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Connects to the server that decides. `lost` is called when the connection has broken, where that
    /// is noticed without asking.
    pub(super) async fn connect(
        &self,
        attempt: usize,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> RedisResult<Wire> {
        let client = match self {
            Self::Standalone(client) => client.clone(),
            Self::Sentinel(make) => make(attempt)?.async_get_client().await?,
            Self::Cluster(client) => {
                return client.get_async_connection().await.map(Wire::Cluster);
            }
        };
        // How long anything may take is bounded by who waits for it.
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let settings = client.get_connection_info().redis_settings();
        if settings.protocol().supports_resp3() {
            config = config.set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    lost();
                }
                Ok::<(), SendError>(())
            });
        }
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        connection.await.map(Wire::One)
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a client knows has passwords.
        f.write_str(match self {
            Self::Standalone(_) => "Standalone",
            Self::Sentinel(_) => "Sentinel",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
