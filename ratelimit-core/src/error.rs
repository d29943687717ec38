//! [`Error`]: why a backend could not answer.

use core::fmt;
use std::borrow::Cow;
use std::sync::Arc;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store cannot be reached, or the connection broke.
    Connection,
    /// The store did not answer in time.
    Timeout,
    /// Too much is waiting for the store already.
    Overloaded,
    /// The store refused: wrong credentials, missing rights, read-only.
    Refused,
    /// The store answered something that makes no sense.
    Protocol,
    /// The backend cannot do what was asked, whatever the store's state.
    Unsupported,
    /// The limits, the policy or the registry are wrong.
    Configuration,
    /// The cost is above the policy's capacity, so that the call can never be admitted.
    Unsatisfiable,
    /// The backend was closed.
    Closed,
    /// Something else.
    Other,
}

impl ErrorKind {
    /// The name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
            Self::Unsupported => "unsupported",
            Self::Configuration => "configuration",
            Self::Unsatisfiable => "unsatisfiable",
            Self::Closed => "closed",
            Self::Other => "other",
        }
    }

    /// Whether the same question may well be answered a little later.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Connection | Self::Timeout | Self::Overloaded)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a backend could not answer: its kind, whether it is temporary, the backend's name, the
/// message, and the cause where there is one. It is cheap to clone.
///
/// What makes an error puts no secret into its message.
///
/// ```
/// use ratelimit_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Timeout, "no answer within 100ms").with_backend("redis");
/// assert_eq!(error.to_string(), "backend `redis`: timeout: no answer within 100ms");
/// assert!(error.is_temporary());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    temporary: bool,
    backend: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    source: Option<Arc<dyn core::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of that kind, with a message in lower case and without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            temporary: kind.is_temporary(),
            backend: None,
            message: message.into(),
            source: None,
        }))
    }

    /// The error for a cost that can never be admitted.
    pub fn unsatisfiable(cost: u32, capacity: u32) -> Self {
        let message = format!("a cost of {cost} can never fit a capacity of {capacity}");
        Self::new(ErrorKind::Unsatisfiable, message)
    }

    /// The same error, of the backend of that name. A name that it has already stays.
    pub fn with_backend(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        if self.0.backend.is_none() {
            Arc::make_mut(&mut self.0).backend = Some(name.into());
        }
        self
    }

    /// The same error with its cause.
    pub fn with_source(mut self, source: impl core::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// The same error, temporary or not, where its kind does not tell.
    pub fn with_temporary(mut self, temporary: bool) -> Self {
        Arc::make_mut(&mut self.0).temporary = temporary;
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same question may well be answered a little later.
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// The name under which the backend is registered.
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// What went wrong, without the kind and the backend.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(backend) = self.backend() {
            write!(f, "backend `{backend}`: ")?;
        }
        write!(f, "{}: {}", self.0.kind, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("temporary", &self.0.temporary)
            .field("backend", &self.0.backend)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
