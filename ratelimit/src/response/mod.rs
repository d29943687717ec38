//! What a rejection becomes: the business of the guarded function's return type.

#[cfg(feature = "axum")]
mod axum;

use crate::Rejection;

/// A return type that can say no.
///
/// Implemented for `Result<T, E>` where `E: From<Rejection>`, for `Option<T>` (`None`), and for the
/// response types of the supported web frameworks. A function that returns something else takes
/// `on_limit = …`.
///
/// ```
/// use ratelimit::{FromRejection, Rejection};
///
/// enum Greeting {
///     Hello(String),
///     Busy,
/// }
///
/// impl FromRejection for Greeting {
///     fn from_rejection(_: Rejection) -> Self {
///         Self::Busy
///     }
/// }
///
/// #[ratelimit::ratelimit(rate = "1/h")]
/// fn greet(name: &str) -> Greeting {
///     Greeting::Hello(format!("hello, {name}"))
/// }
///
/// assert!(matches!(greet("Ada"), Greeting::Hello(_)));
/// assert!(matches!(greet("Ada"), Greeting::Busy));
/// ```
#[diagnostic::on_unimplemented(
    message = "the return type `{Self}` cannot say that a call was rejected",
    label = "a rejected call has nothing to return here",
    note = "return `Result<T, E>` where `E: From<ratelimit::Rejection>` (such as `Result<T, ratelimit::Rejection>`), `Option<T>`, or a response of a supported web framework whose feature is on",
    note = "for a `Result` with an error type of your own: `impl From<ratelimit::Rejection> for MyError`",
    note = "or add `on_limit = |rejection| …` to the attribute, which makes the value to return"
)]
pub trait FromRejection: Sized {
    /// What to return in place of the function's own value.
    fn from_rejection(rejection: Rejection) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<Rejection>> FromRejection for Result<T, E> {
    fn from_rejection(rejection: Rejection) -> Self {
        Err(rejection.into())
    }
}

impl<T> FromRejection for Option<T> {
    fn from_rejection(_: Rejection) -> Self {
        None
    }
}

/// What `impl IntoResponse` and `impl Responder` are turned into, so that the body's value and a
/// rejection have one type.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be turned into a response that could also be a rejection",
    label = "no supported web framework's response",
    note = "turn on the feature of the web framework that you use: `ratelimit = {{ features = [\"axum\"] }}`"
)]
pub trait IntoFrameworkResponse {
    /// The framework's response.
    type Response;

    /// The response of a call that ran.
    fn admitted(self) -> Self::Response;

    /// The response of a call that did not.
    fn rejected(rejection: Rejection) -> Self::Response;
}
