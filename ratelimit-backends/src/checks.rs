//! What is checked of the options of any store.

use core::time::Duration;

use ratelimit_core::{Error, ErrorKind};

/// An option that cannot be.
pub(crate) fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Configuration, message.into())
}

/// A time in which something has to be done.
pub(crate) fn lasts(name: &str, time: Duration) -> Result<(), Error> {
    if time.is_zero() {
        return Err(wrong(format!(
            "a {name} of zero leaves no time for an answer"
        )));
    }
    Ok(())
}

/// How many there may be of what is needed.
pub(crate) fn some(name: &str, count: usize) -> Result<(), Error> {
    if count == 0 {
        return Err(wrong(format!("{name} is 0, and has to be 1 or more")));
    }
    Ok(())
}

/// The shortest and the longest time of a back-off.
#[cfg(any(
    feature = "_sql",
    feature = "memcached",
    feature = "mongodb",
    feature = "redis"
))]
pub(crate) fn upwards((shortest, longest): (Duration, Duration)) -> Result<(), Error> {
    if shortest > longest {
        return Err(wrong(format!(
            "the back-off goes from {shortest:?} to {longest:?}, and has to go upwards"
        )));
    }
    Ok(())
}

/// What the names of keys start with, where these have a longest length and stand in statements as they are.
#[cfg(any(feature = "_sql", feature = "cas", feature = "mongodb"))]
pub(crate) fn prefix(found: &str, longest: usize) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@".contains(&byte);
    if found.len() > longest || !found.bytes().all(allowed) {
        return Err(wrong(format!(
            "the prefix is {found:?}, and can have up to {longest} letters, digits and `_ - . : @`"
        )));
    }
    Ok(())
}
