//! [`Secrets`]: what no message may say.

use core::fmt;
use std::sync::Arc;

use redis::RedisError;

/// What servers that do not know a command say before they repeat its arguments, be it to log in.
const REPEATS: &str = "with args beginning with";

/// Passwords. A server, or what takes itself for one, may repeat what it is told.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<[String]>);

impl Secrets {
    pub(super) fn of<'a>(passwords: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let passwords = passwords.into_iter().flatten();
        let passwords = passwords.filter(|password| !password.is_empty());
        Self(passwords.map(str::to_owned).collect())
    }

    /// Whether the error, which came of logging in, may say one of them.
    pub(super) fn may_be_in(&self, error: &RedisError) -> bool {
        let text = error.to_string();
        let says = |password: &String| text.contains(&**password);
        text.contains(REPEATS) || self.0.iter().any(says)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}
