//! What is asked of a server at start-up: which it is, and whether it lets us.

use ratelimit_core::{Algorithm, Check, Error, ErrorKind, Join, KeyBuf, Policy, Rate};
use redis::{Cmd, Value, cmd};

use super::ask::Client;
use super::link::{Failure, Topology};
use crate::checks::wrong;

/// The oldest Redis that does.
const OLDEST: (u64, u64) = (6, 2);

/// What is written is over after a millisecond.
const PROBE: Rate = match Rate::parse("1000/s") {
    Ok(rate) => rate,
    Err(_) => panic!("it is a rate"),
};

/// What a server says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    server: String,
    pub(super) version: String,
    mode: String,
    role: String,
}

impl Hello {
    /// Of every server that decides.
    pub(super) async fn of(client: &Client) -> Result<Vec<Self>, Error> {
        let answers = match client.link.call_all(&cmd("HELLO")).await {
            Err(Failure::Told(error)) if is_unknown_command(&error) => {
                return Err(too_old("does not know `HELLO`"));
            }
            answers => answers.map_err(Error::from)?,
        };
        Ok(answers.into_iter().map(Self::from).collect())
    }

    fn set(&mut self, name: &Value, value: &Value) {
        let field = match text(name) {
            "server" => &mut self.server,
            "version" => &mut self.version,
            "mode" => &mut self.mode,
            "role" => &mut self.role,
            _ => return,
        };
        text(value).clone_into(field);
    }

    pub(super) fn version(&self) -> Option<(u64, u64)> {
        let mut parts = self.version.split('.');
        let mut next = || parts.next()?.parse().ok();
        Some((next()?, next()?))
    }

    /// Whether it is one that this backend can ask in that way.
    fn suits(&self, topology: &Topology) -> Result<(), Error> {
        let old = self.version().is_some_and(|version| version < OLDEST);
        if self.server == "redis" && old {
            return Err(too_old(&format!("is version {}", self.version)));
        }
        let instead = match (&self.mode[..], topology) {
            ("cluster", Topology::Cluster(_))
            | ("standalone", Topology::Standalone(_) | Topology::Sentinel(..)) => None,
            ("cluster", _) => Some("is a node of a Redis Cluster: `RedisBackend::cluster` can"),
            ("sentinel", _) => Some("is a Sentinel: `RedisBackend::sentinel` can"),
            ("standalone", _) => {
                Some("is not part of a Redis Cluster: `RedisBackend::builder` can")
            }
            _ => None,
        };
        if let Some(instead) = instead {
            let message = format!("the server {instead} be used there");
            return Err(wrong(message));
        }
        if self.mode != "cluster" && matches!(&self.role[..], "replica" | "slave") {
            let message = "the server is a replica, which cannot be written to";
            return Err(Error::new(ErrorKind::Refused, message));
        }
        Ok(())
    }
}

/// A list of names and values, whichever version of the protocol it comes in.
impl From<Value> for Hello {
    fn from(answer: Value) -> Self {
        let mut hello = Self::default();
        match answer {
            Value::Map(fields) => {
                for (name, value) in fields {
                    hello.set(&name, &value);
                }
            }
            Value::Array(fields) => {
                let mut fields = fields.into_iter();
                while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
                    hello.set(&name, &value);
                }
            }
            _ => {}
        }
        hello
    }
}

/// Asks the server for all that it will be asked for, of a key that nobody has, and that goes away at once.
pub(super) async fn check(client: &Client, topology: &Topology, prefix: &str) -> Result<(), Error> {
    for hello in Hello::of(client).await? {
        hello.suits(topology)?;
    }
    let name = format!("{prefix}:{{=probe}}");
    let policy = Policy::new("probe", Algorithm::TokenBucket, PROBE);
    let key = KeyBuf::of("probe");
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    for join in [Join::Each, Join::All] {
        let question = client.question(name.clone(), &check);
        client.decide(&[question], join).await?;
    }
    let slot = client.slot(&name);
    let read = &client.scripts.exchange;
    read.call((&client.link, slot), &[&name], &[&client.time()[..], b"0"])
        .await?;
    for command in ["PTTL", "DEL"] {
        let mut command: Cmd = cmd(command);
        command.arg(&name);
        client.link.call(slot, &command).await?;
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    match value {
        Value::BulkString(bytes) => core::str::from_utf8(bytes).unwrap_or_default(),
        Value::SimpleString(text) => text,
        _ => "",
    }
}

fn is_unknown_command(error: &redis::RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.contains("unknown command"))
}

fn too_old(found: &str) -> Error {
    let (major, minor) = OLDEST;
    let message =
        format!("the server {found}; Redis {major}.{minor} or later, or Valkey, is needed");
    Error::new(ErrorKind::Unsupported, message)
}
