//! The compare-and-swap backend.
//!
//! - here: the conformance suite, on a store in memory;
//! - `shelf`: that store; `calls`: how often it is asked, and what is said when it fails.

mod calls;
mod shelf;

use core::time::Duration;
use std::sync::Arc;

use ratelimit_backends::cas::CasBackend;
use ratelimit_core::{Backend, BoxFuture};
use ratelimit_tests::conformance::{Store, Time};

use shelf::Shelf;

/// Time enough on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Shared(Arc<Shelf>);

impl Store for Shared {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let builder = CasBackend::builder(Arc::clone(&self.0)).timeout(PATIENCE);
        let builder = match time {
            Time::Injected(clock) => builder.clock(clock),
            Time::Own => builder,
        };
        let backend = builder.build().expect("options that can be");
        Box::pin(async { Arc::new(backend) as Arc<dyn Backend> })
    }

    fn drops_by_injected_clock(&self) -> bool {
        false
    }
}

ratelimit_tests::conformance!(Shared::default());
