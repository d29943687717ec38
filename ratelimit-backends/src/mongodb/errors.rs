//! What is made of a server's failures.

use mongodb::bson::Document;
use mongodb::error::{ErrorKind as Kind, TRANSIENT_TRANSACTION_ERROR};
use ratelimit_core::{Error, ErrorKind};

/// A key was added by somebody else at the same time.
pub(super) const DUPLICATE: i32 = 11_000;

/// What a statement of ours says that finds another version than it expects: its last resort is to change `_id`.
pub(super) const OTHER_VERSION: i32 = 66;

/// A failure, and what it says of what was asked.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Nothing was done, and the same may well be done now.
    pub(super) again: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            again: false,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Failure {
    /// Somebody else was there at the same time. Nothing was done.
    pub(super) fn overtaken() -> Self {
        let message = "others changed the key at the same time, again and again";
        Self {
            error: Error::new(ErrorKind::Overloaded, message),
            again: true,
        }
    }
}

/// What is made of an error. Messages of servers are passed on: they have names and addresses, but no passwords.
pub(super) fn failure(error: &mongodb::error::Error) -> Failure {
    let mut failure = match &*error.kind {
        Kind::Command(told) => told_by_server(told.code, &told.message),
        kind => {
            let found = match kind {
                Kind::Authentication { .. } => ErrorKind::Refused,
                Kind::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    ErrorKind::Timeout
                }
                // A pool is cleared for what happened to others, of which nothing can log in.
                Kind::ConnectionPoolCleared { message, .. }
                    if message.contains("Authentication") =>
                {
                    ErrorKind::Refused
                }
                Kind::Io(_)
                | Kind::ConnectionPoolCleared { .. }
                | Kind::ServerSelection { .. }
                | Kind::DnsResolve { .. } => ErrorKind::Connection,
                Kind::InvalidArgument { .. } | Kind::InvalidTlsConfig { .. } => {
                    ErrorKind::Configuration
                }
                Kind::IncompatibleServer { .. } | Kind::SessionsNotSupported => {
                    ErrorKind::Unsupported
                }
                Kind::Shutdown => ErrorKind::Closed,
                _ => ErrorKind::Protocol,
            };
            let mut message = kind.to_string();
            // What follows is for the driver's own programmers.
            if let Some(end) = message.find(", labels: {") {
                message.truncate(end);
            }
            Error::new(found, message).into()
        }
    };
    failure.again |= error.contains_label(TRANSIENT_TRANSACTION_ERROR);
    failure
}

/// What a server says by a number.
pub(super) fn told_by_server(code: i32, message: &str) -> Failure {
    let (kind, again) = match code {
        // Rights and passwords; a disk that is full; a server that only reads.
        13 | 18 | 8000 | 14_031 => (ErrorKind::Refused, false),
        // It is not the one that writes.
        10_058 | 10_107 | 13_435 | 13_436 => (ErrorKind::Connection, true),
        // It no longer is, or it ends, perhaps in the midst of it.
        6 | 7 | 91 | 189 | 9001 | 11_600 | 11_602 => (ErrorKind::Connection, false),
        // `maxTimeMS`, `wtimeout`.
        50 | 64 | 89 | 202 | 262 => (ErrorKind::Timeout, false),
        // Two writes at the same time; a transaction that was given up.
        112 | 244 | 251 | DUPLICATE => (ErrorKind::Overloaded, true),
        72 | 73 | 79 | 85 | 86 | 100 => (ErrorKind::Configuration, false),
        // Of which the driver speaks in words of its own.
        20 if ["Transaction numbers", "retryable writes"]
            .iter()
            .any(|it| message.contains(it)) =>
        {
            return no_transactions();
        }
        59 | 115 | 263 => (ErrorKind::Unsupported, false),
        _ => (ErrorKind::Protocol, false),
    };
    Failure {
        error: Error::new(kind, message.to_owned()),
        again,
    }
}

fn no_transactions() -> Failure {
    let message = "several keys are one decision only where there are transactions: the server has to be a replica set \
                   (one of a single node will do) or a sharded cluster";
    Error::new(ErrorKind::Unsupported, message).into()
}

/// What an answer says that is none: it was done, but not as durably as asked.
pub(super) fn refused_concern(answer: &Document) -> Option<Failure> {
    let error = answer.get_document("writeConcernError").ok()?;
    let code = error.get_i32("code").unwrap_or_default();
    let message = error.get_str("errmsg").unwrap_or_default();
    let mut failure = told_by_server(code, message);
    failure.again = false;
    Some(failure)
}

/// What becomes of an answer that makes no sense.
pub(super) fn nonsense() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer makes no sense")
}
