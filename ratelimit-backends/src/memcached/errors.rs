//! What is made of the client's failures. Keys are left out: they say who is limited.

use std::io;

use memcache::exp;
use ratelimit_core::{Error, ErrorKind};

/// What is made of a failure of the server at that address.
pub(super) fn failed(address: &str, failure: &exp::Error) -> Error {
    let (kind, message) = describe(failure);
    let error = Error::new(kind, format!("memcached at {address}: {message}"));
    // Memory may be free again; a proxy may find its server again.
    let passes = matches!(failure, exp::Error::Server(said) if !said.contains("too large"));
    if passes {
        error.with_temporary(true)
    } else {
        error
    }
}

/// What is made of a failure to say something by ourselves.
pub(super) fn broken(address: &str, failure: &io::Error) -> Error {
    let (kind, message) = of_io(failure);
    Error::new(kind, format!("memcached at {address}: {message}"))
}

fn describe(failure: &exp::Error) -> (ErrorKind, String) {
    match failure {
        exp::Error::Io(failure) => of_io(failure),
        exp::Error::Timeout { .. } => (ErrorKind::Timeout, "no answer in time".to_owned()),
        exp::Error::Ambiguous { source, .. } => {
            let (kind, message) = describe(source);
            (kind, format!("{message}; what was asked may be done"))
        }
        exp::Error::Server(said) => (ErrorKind::Refused, format!("it says {said:?}")),
        exp::Error::Rejected(said) if said.contains("unauthenticated") => {
            let message = "it wants a name and a password, which its client cannot send";
            (ErrorKind::Refused, message.to_owned())
        }
        exp::Error::Rejected(said) => {
            let message = format!("it does not take what it was asked, and says {said:?}");
            (ErrorKind::Protocol, message)
        }
        exp::Error::Protocol(said) => (ErrorKind::Protocol, said.clone()),
        exp::Error::Usage(said) => (ErrorKind::Configuration, (*said).to_owned()),
        _ => (ErrorKind::Other, "its client failed".to_owned()),
    }
}

fn of_io(failure: &io::Error) -> (ErrorKind, String) {
    let kind = match failure.kind() {
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::InvalidInput => ErrorKind::Configuration,
        _ => ErrorKind::Connection,
    };
    (kind, failure.to_string())
}

/// Whether it is likely that no connection to the server works any more.
pub(super) fn is_lost(failure: &exp::Error) -> bool {
    match failure {
        exp::Error::Io(_) => true,
        exp::Error::Ambiguous { source, .. } => is_lost(source),
        _ => false,
    }
}
