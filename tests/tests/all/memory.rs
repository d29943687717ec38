//! The conformance suite on the memory backend.

use std::sync::{Arc, OnceLock};

use ratelimit::MemoryBackend;
use ratelimit_core::{Backend, BoxFuture};
use ratelimit_tests::conformance::{Store, Time};

/// A process's memory: every instance is the same backend.
#[derive(Default)]
struct Memory(OnceLock<Arc<MemoryBackend>>);

impl Store for Memory {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let open = || {
            Arc::new(match time {
                Time::Injected(clock) => MemoryBackend::builder().clock(clock).build(),
                Time::Own => MemoryBackend::new(),
            })
        };
        let backend = Arc::clone(self.0.get_or_init(open));
        Box::pin(async { backend as Arc<dyn Backend> })
    }
}

ratelimit_tests::conformance!(Memory::default());
