//! [`Connection`]: calls of the scripts, and what is made of their errors.

use core::time::Duration;
use std::time::Instant;

use ratelimit_core::{Error, ErrorKind, Pong};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script, Value};
use tokio::sync::OnceCell;

pub(super) struct Connection {
    client: Client,
    timeout: Duration,
    /// Made by who asks first, as it belongs to the runtime on which it is made.
    manager: OnceCell<ConnectionManager>,
    decide: Script,
    exchange: Script,
}

impl Connection {
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, Error> {
        if url.starts_with("rediss:") {
            let message = "`rediss://` asks for TLS, which this backend cannot do yet: `redis://` can be used";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        // What is wrong with a URL says nothing of it, as it can have a password.
        let wrong = |error: RedisError| {
            let message = format!("this is no URL of a Redis server: {}", error.category());
            Error::new(ErrorKind::Configuration, message)
        };
        Ok(Self {
            client: Client::open(url).map_err(wrong)?,
            timeout,
            manager: OnceCell::new(),
            decide: Script::new(include_str!("decide.lua")),
            exchange: Script::new(include_str!("exchange.lua")),
        })
    }

    /// It connects when it is first used, and again when the connection broke; each time once, so that who asks
    /// learns at once what is wrong.
    async fn manager(&self) -> Result<ConnectionManager, Error> {
        let make = || async {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_response_timeout(Some(self.timeout))
                .set_connection_timeout(Some(self.timeout));
            ConnectionManager::new_lazy_with_config(self.client.clone(), config)
        };
        let manager = self.manager.get_or_try_init(make).await;
        manager.cloned().map_err(failed)
    }

    /// One call of the script that decides.
    pub(super) async fn decide(
        &self,
        names: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<Vec<Value>, Error> {
        self.call(&self.decide, names, arguments).await
    }

    /// One call of the script that compares and swaps.
    pub(super) async fn exchange(
        &self,
        names: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<Vec<Value>, Error> {
        self.call(&self.exchange, names, arguments).await
    }

    async fn call(
        &self,
        script: &Script,
        names: &[String],
        arguments: &[Vec<u8>],
    ) -> Result<Vec<Value>, Error> {
        let mut call = script.prepare_invoke();
        for name in names {
            call.key(name);
        }
        for argument in arguments {
            call.arg(&argument[..]);
        }
        let mut manager = self.manager().await?;
        call.invoke_async(&mut manager).await.map_err(failed)
    }

    pub(super) async fn remove(&self, names: &[String]) -> Result<(), Error> {
        let mut manager = self.manager().await?;
        let mut command = redis::cmd("DEL");
        command.arg(names);
        let removed: Result<u64, _> = command.query_async(&mut manager).await;
        removed.map(|_| ()).map_err(failed)
    }

    pub(super) async fn ping(&self) -> Result<Pong, Error> {
        let mut manager = self.manager().await?;
        let started = Instant::now();
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut manager)
            .await
            .map_err(failed)?;
        let pong = Pong::new(started.elapsed());
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"));
        Ok(match version {
            Some(version) => pong.with_version(version.to_owned()),
            None => pong,
        })
    }
}

/// What the client says of a failure, in our terms.
fn failed(error: RedisError) -> Error {
    // Old servers say inside of the message of a failed script what failed in it.
    let says = |codes: &[&str]| {
        let code = error.code().unwrap_or_default();
        let detail = error.detail().unwrap_or_default();
        let within = |wanted: &str| code == wanted || detail.contains(&format!("-{wanted} "));
        codes.iter().any(|wanted| within(wanted))
    };
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal()
    {
        ErrorKind::Connection
    } else if error.kind() == redis::ErrorKind::AuthenticationFailed || says(REFUSALS) {
        ErrorKind::Refused
    } else if says(PASSING) {
        ErrorKind::Connection
    } else {
        ErrorKind::Protocol
    };
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.category()),
        None => error.category().to_owned(),
    };
    Error::new(kind, message).with_source(error)
}

/// What a server says that does not let us.
const REFUSALS: &[&str] = &[
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "READONLY",
    "OOM",
    "DENIED",
    "MISCONF",
    "NOREPLICAS",
];

/// What passes.
const PASSING: &[&str] = &["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"];
