//! [`Endpoint`]: where a server is, or who knows it, and how to connect to it.

use std::sync::Arc;

use redis::aio::{MultiplexedConnection, SendError};
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisResult};

use crate::redis::secrets::Secrets;

/// Makes the client that asks the Sentinels; told how often it was before, so that not always the same
/// of them comes first.
pub(in crate::redis) type MakeSentinelClient =
    dyn Fn(usize) -> RedisResult<SentinelClient> + Send + Sync;

#[derive(Clone)]
pub(super) enum Endpoint {
    Server(Arc<Client>),
    /// The master that Sentinels know.
    Master(Arc<MakeSentinelClient>, Secrets),
}

impl Endpoint {
    /// What must not be said of a failure to connect.
    pub(super) fn secrets(&self) -> Secrets {
        match self {
            Self::Server(client) => {
                Secrets::of([client.get_connection_info().redis_settings().password()])
            }
            Self::Master(_, secrets) => secrets.clone(),
        }
    }

    /// A connection, which many callers can use at the same time. `lost` is called when it has broken, where
    /// that is noticed without asking.
    pub(super) async fn connect(
        &self,
        attempt: usize,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let client = match self {
            Self::Server(client) => Client::clone(client),
            Self::Master(make, _) => make(attempt)?.async_get_client().await?,
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
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}
