//! [`Scripts`]: what runs inside of the server, and how it is called.

use ratelimit_core::Error;
use redis::{Cmd, Script, Value};

use super::errors;
use super::link::{Failure, Link};

pub(super) struct Scripts {
    /// Buckets of one rate, without a delay: what is asked most.
    pub(super) bucket: ServerScript,
    /// Everything that can be decided there.
    pub(super) decide: ServerScript,
    /// Corrections.
    pub(super) refund: ServerScript,
    /// Compare and swap, for what cannot.
    pub(super) exchange: ServerScript,
}

pub(super) struct ServerScript {
    text: &'static str,
    hash: String,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            bucket: ServerScript::new(include_str!("bucket.lua")),
            decide: ServerScript::new(include_str!("decide.lua")),
            refund: ServerScript::new(include_str!("refund.lua")),
            exchange: ServerScript::new(include_str!("exchange.lua")),
        }
    }
}

impl ServerScript {
    fn new(text: &'static str) -> Self {
        let hash = Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// One call. Of a server that does not know the script, one more, with its text, from which it learns
    /// it: whichever server that is, after a failover or in a cluster.
    pub(super) async fn call<N: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        (link, slot): (&Link, u16),
        names: &[N],
        arguments: &[B],
    ) -> Result<Vec<Value>, Failure> {
        let by_hash = command("EVALSHA", &self.hash, names, arguments);
        let answer = match link.call(slot, &by_hash).await {
            Err(Failure::Told(error)) if errors::is_unknown_script(&error) => {
                let by_text = command("EVAL", self.text, names, arguments);
                link.call(slot, &by_text).await?
            }
            answer => answer?,
        };
        match answer {
            Value::Array(values) => Ok(values),
            _ => Err(Failure::Unasked(nonsense())),
        }
    }
}

fn command<N: AsRef<str>, B: AsRef<[u8]>>(
    how: &str,
    script: &str,
    names: &[N],
    arguments: &[B],
) -> Cmd {
    let bytes = names.iter().map(|it| it.as_ref().len() + 16).sum::<usize>()
        + arguments
            .iter()
            .map(|it| it.as_ref().len() + 16)
            .sum::<usize>();
    let count = names.len() + arguments.len() + 3;
    let mut command = Cmd::with_capacity(count, bytes + script.len() + 32);
    command.arg(how).arg(script).arg(names.len());
    for name in names {
        command.arg(name.as_ref());
    }
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    command
}

pub(super) fn nonsense() -> Error {
    let message = "the server's answer makes no sense";
    Error::new(ratelimit_core::ErrorKind::Protocol, message)
}
