//! Rejections as axum responses.

use core::time::Duration;

use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{FromRejection, IntoFrameworkResponse};
use crate::{Error, ErrorKind, Rejection};

impl Rejection {
    /// The HTTP status that says this: 429 for a limit, 503 for an unavailable backend, 400 for a
    /// cost that can never fit and for a missing header, 500 for what is wrong with the program (a
    /// backend that is not registered, a key that no argument provides).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(error) if is_permanent(error) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unsatisfiable { .. } => StatusCode::BAD_REQUEST,
            Self::MissingKey { wanted } if wanted.starts_with("header:") => StatusCode::BAD_REQUEST,
            Self::MissingKey { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What a client is told; nothing of the inside.
    fn text(&self) -> String {
        match self {
            Self::Limited(_) => {
                let seconds = whole_seconds(self.retry_after().unwrap_or_default());
                format!("rate limit exceeded, try again in {seconds} s\n")
            }
            Self::Unavailable(error) if is_permanent(error) => INTERNAL.to_owned(),
            Self::Unavailable(_) => "temporarily unavailable\n".to_owned(),
            Self::Unsatisfiable { .. } => {
                "the request costs more than can be admitted\n".to_owned()
            }
            Self::MissingKey { wanted } => match wanted.strip_prefix("header:") {
                Some(header) => format!("the header {header} is required\n"),
                None => INTERNAL.to_owned(),
            },
        }
    }
}

/// What a client is told of mistakes that are not its own.
const INTERNAL: &str = "internal error\n";

/// Whether trying again is of no use.
fn is_permanent(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Configuration | ErrorKind::Unsupported
    )
}

/// Seconds, rounded up, so that a client that obeys succeeds.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
        .max(1)
}

/// `429 Too Many Requests` with `Retry-After` in whole seconds, rounded up; or what
/// [`status`](Rejection::status) says. A response is never stored by a cache.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.text()).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let retry_after = match &self {
            Self::Limited(_) => self.retry_after().map(whole_seconds),
            Self::Unavailable(error) if !is_permanent(error) => Some(1),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// For handlers whose error type is a response.
impl From<Rejection> for Response {
    fn from(rejection: Rejection) -> Self {
        rejection.into_response()
    }
}

/// For handlers whose error type is a status. It cannot say when to try again: return the rejection
/// itself or a `Response` to keep `Retry-After`.
impl From<Rejection> for StatusCode {
    fn from(rejection: Rejection) -> Self {
        rejection.status()
    }
}

/// For handlers whose error type is a status and a text, which has no `Retry-After` either.
impl From<Rejection> for (StatusCode, String) {
    fn from(rejection: Rejection) -> Self {
        (rejection.status(), rejection.text())
    }
}

impl FromRejection for Response {
    fn from_rejection(rejection: Rejection) -> Self {
        rejection.into_response()
    }
}

#[diagnostic::do_not_recommend]
impl<T: IntoResponse> IntoFrameworkResponse for T {
    type Response = Response;

    fn admitted(self) -> Response {
        self.into_response()
    }

    fn rejected(rejection: Rejection) -> Response {
        rejection.into_response()
    }
}
