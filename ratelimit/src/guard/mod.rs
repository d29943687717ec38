//! The guarded call: what generated code hands over, and what it gets back.

mod call;
mod convert;

use crate::Rejection;
use crate::registry::global;
use crate::response::IntoFrameworkResponse;
use crate::site::Site;

pub use call::Call;
pub use convert::{IntoBurst, IntoCost, IntoLimits, into_limits_ref};

/// The permission to run. It lives as long as the guarded function's body.
#[derive(Debug)]
#[must_use]
pub struct Admitted(());

/// Asks whether a guarded function may run, without touching the caller's async runtime.
#[allow(clippy::needless_pass_by_value)] // generated code has no use for it any more
pub fn enter(site: &'static Site, call: Call) -> Result<Admitted, Rejection> {
    if call.is_skipped() {
        return Ok(Admitted(()));
    }
    let resolved = global::resolve(site);
    resolved
        .plan()
        .ask_blocking(&call.question())
        .map(|_| Admitted(()))
}

/// Asks whether a guarded async function may run.
pub async fn enter_async(site: &'static Site, call: Call) -> Result<Admitted, Rejection> {
    if call.is_skipped() {
        return Ok(Admitted(()));
    }
    let resolved = global::resolve(site);
    resolved
        .plan()
        .ask(&call.question())
        .await
        .map(|_| Admitted(()))
}

/// Lets `on_limit` say no. It is a function so that the closure's argument has a type.
pub fn on_limit<R>(handler: impl FnOnce(Rejection) -> R, rejection: Rejection) -> R {
    handler(rejection)
}

/// Runs a body, whose `return`s stay inside.
pub fn call_once<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Makes one type of a body's value and a rejection.
pub fn respond<T: IntoFrameworkResponse>(result: Result<T, Rejection>) -> T::Response {
    match result {
        Ok(value) => value.admitted(),
        Err(rejection) => T::rejected(rejection),
    }
}
