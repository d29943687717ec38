//! [`apart`]: work on a thread and a runtime of its own, for callers that are not async.

use core::future::Future;
use std::thread;

use ratelimit_core::{Error, ErrorKind};
use tokio::runtime::Builder;

/// The value of `work`, for which this thread waits, whatever runtime it may be of.
pub(crate) fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let failed = |error| {
        let message = "the thread that connects did not start";
        Error::new(ErrorKind::Other, message).with_source(error)
    };
    let thread = thread::Builder::new()
        .name("ratelimit-connect".to_owned())
        .spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.map_err(failed)?.block_on(work)
        });
    let ended = thread.map_err(failed)?.join();
    ended.unwrap_or_else(|_| {
        let message = "the thread that connects has panicked";
        Err(Error::new(ErrorKind::Other, message))
    })
}
