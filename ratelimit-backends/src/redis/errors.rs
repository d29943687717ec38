//! What the client says of a failure, in our terms.

use ratelimit_core::{Error, ErrorKind};
use redis::{RedisError, ServerErrorKind};

use super::secrets::Secrets;

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

/// What it says where a script does what it may not.
const SCRIPT_REFUSALS: &[&str] = &["ACL failure in script", "The user executing the script"];

/// What passes.
const PASSING: &[&str] = &[
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "MOVED",
    "ASK",
];

/// Whether the server said this. Old ones say inside of the message of a failed script what failed in it.
fn says(error: &RedisError, code: &str) -> bool {
    error.code() == Some(code)
        || error
            .detail()
            .is_some_and(|detail| detail.contains(&format!("-{code} ")))
}

fn says_any(error: &RedisError, codes: &[&str]) -> bool {
    codes.iter().any(|code| says(error, code))
}

/// The error of a login, which must not say what was sent for it.
pub(super) fn failed_to_log_in(error: RedisError, secrets: &Secrets) -> Error {
    if !secrets.may_be_in(&error) {
        return failed(error);
    }
    let message = format!(
        "{}: what was said repeats how we logged in, and is left out",
        error.category()
    );
    Error::new(kind(&error), message)
}

pub(super) fn failed(error: RedisError) -> Error {
    let kind = kind(&error);
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.category()),
        None => error.to_string(),
    };
    Error::new(kind, message).with_source(error)
}

fn kind(error: &RedisError) -> ErrorKind {
    if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_io_error()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
        || is_cut(error)
    {
        ErrorKind::Connection
    } else if is_refusal(error) {
        ErrorKind::Refused
    } else if says_any(error, PASSING) || is_search(error) {
        ErrorKind::Connection
    } else if error.kind() == redis::ErrorKind::InvalidClientConfig {
        ErrorKind::Configuration
    } else {
        ErrorKind::Protocol
    }
}

/// Whether the connection ended in the middle of an answer.
fn is_cut(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Parse && error.to_string().contains("end of input")
}

fn is_refusal(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    error.kind() == redis::ErrorKind::AuthenticationFailed
        || says_any(error, REFUSALS)
        || SCRIPT_REFUSALS.iter().any(|it| detail.starts_with(it))
}

/// Whether no server was found that could be asked, for the time being.
fn is_search(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::MasterNameNotFoundBySentinel
}

/// The script is not known there.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

/// The server cannot be written to: another may be the master now.
pub(super) fn is_read_only(error: &RedisError) -> bool {
    says(error, "READONLY")
}

/// Another node may have the slots of this one.
pub(super) fn is_of_node(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || says_any(error, &["READONLY", "CLUSTERDOWN", "MASTERDOWN"])
}

/// Some of the keys are on their way to another node of the cluster.
pub(super) fn is_migration(error: &RedisError) -> bool {
    says(error, "TRYAGAIN")
}
