//! [`Target`]: the servers as the user names them, and [`Source`]: how clients of the driver are made for them.

use core::fmt;
use core::time::Duration;

use mongodb::Client;
use mongodb::options::{ClientOptions, ConnectionString, WriteConcern};
use ratelimit_core::{Error, ErrorKind};

use super::errors::failure;

/// How often servers are asked how they are; the driver's own default of ten seconds is long for who waits.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) enum Target {
    Url(String),
    Options(Box<ClientOptions>),
    Client(Client),
}

/// How many connections there may be, and how long each thing may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// To each server: what was said, or else what the URL says, or else this.
    pub(super) connections: (Option<u32>, u32),
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
}

/// How a client is made.
pub(super) enum Source {
    Url(Box<ConnectionString>, Bounds),
    Options(Box<ClientOptions>, Bounds),
    Given(Client),
}

impl Target {
    /// What is wrong with a URL is said without repeating it.
    pub(super) fn source(&self, bounds: Bounds) -> Result<Source, Error> {
        Ok(match self {
            Self::Url(url) => Source::Url(Box::new(parsed(url)?), bounds),
            Self::Options(options) => Source::Options(options.clone(), bounds),
            Self::Client(client) => Source::Given(client.clone()),
        })
    }

    /// The database that is named there.
    pub(super) fn database(&self) -> Result<Option<String>, Error> {
        Ok(match self {
            Self::Url(url) => parsed(url)?.default_database,
            Self::Options(options) => options.default_database.clone(),
            Self::Client(client) => client.default_database().map(|it| it.name().to_owned()),
        })
    }

    /// The write concern that is named there.
    pub(super) fn write_concern(&self) -> Result<Option<WriteConcern>, Error> {
        Ok(match self {
            Self::Url(url) => parsed(url)?.write_concern,
            Self::Options(options) => options.write_concern.clone(),
            Self::Client(client) => client.write_concern().cloned(),
        })
    }

    /// Whether connections of our own can be made as well.
    pub(super) fn is_given(&self) -> bool {
        matches!(self, Self::Client(_))
    }
}

impl Source {
    /// What a new client is made of. It may take asking for the names of the servers.
    pub(super) async fn options(&self) -> Result<ClientOptions, Error> {
        let (mut options, bounds) = match self {
            Self::Url(url, bounds) => {
                let parsed = ClientOptions::parse((**url).clone()).await;
                (parsed.map_err(|error| failure(&error).error)?, bounds)
            }
            Self::Options(options, bounds) => ((**options).clone(), bounds),
            Self::Given(_) => return Err(wrong("a client makes no others".to_owned())),
        };
        let at_most =
            |given: Option<Duration>, ours: Duration| Some(given.unwrap_or(ours).min(ours));
        let (said, usual) = bounds.connections;
        options.max_pool_size = said.or(options.max_pool_size).or(Some(usual));
        options.connect_timeout = at_most(options.connect_timeout, bounds.connect_timeout);
        // Sooner than the call ends: who waits for a server is to learn why there is none.
        let selection = bounds.timeout.mul_f64(0.8);
        options.server_selection_timeout = at_most(options.server_selection_timeout, selection);
        // A server that said it would end, or write no more, is asked soon whether that still holds.
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        options
            .app_name
            .get_or_insert_with(|| "ratelimit".to_owned());
        Ok(options)
    }
}

fn parsed(url: &str) -> Result<ConnectionString, Error> {
    if url.starts_with("mongodb+srv://") && !cfg!(feature = "mongodb-srv") {
        let message = "a URL with `mongodb+srv:` needs the feature `mongodb-srv`";
        return Err(wrong(message.to_owned()));
    }
    if !url.starts_with("mongodb://") && !url.starts_with("mongodb+srv://") {
        // What is no URL may be a password.
        let message = "the URL has to begin with `mongodb://` or `mongodb+srv://`";
        return Err(wrong(message.to_owned()));
    }
    ConnectionString::parse(url).map_err(|error| {
        let said = error.kind.to_string();
        // The driver repeats what it cannot read, in part or with its signs undone.
        let secret = url
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'));
        let repeats = secret.is_some_and(|(secret, _)| {
            let mut words = secret.split(|it: char| !it.is_alphanumeric());
            words.any(|word| !word.is_empty() && said.contains(word))
        });
        if repeats {
            wrong("the URL is wrong in what stands before the `@`, or behind it".to_owned())
        } else {
            wrong(format!("the URL is wrong: {said}"))
        }
    })
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What they say besides can have a password.
        f.write_str(match self {
            Self::Url(_) => "URL",
            Self::Options(_) => "options",
            Self::Client(_) => "client",
        })
    }
}
