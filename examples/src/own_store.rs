//! A store of one's own: load, compare and swap, delete, and every algorithm decides in it.
//!
//! This one is a map behind a lock. A database or a service with a compare-and-swap looks the same: only these three methods ask
//! it.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ratelimit::{Registry, Rejection, aratelimit};
use ratelimit_backends::cas::{CasBackend, CasStore, Loaded, Swap};

#[derive(Default)]
struct Shelf(Mutex<Items>);

#[derive(Default)]
struct Items {
    /// Of each key its version, its state, and until when it is kept.
    items: HashMap<String, (u64, Vec<u8>, Instant)>,
    changes: u64,
}

impl Shelf {
    fn items(&self) -> MutexGuard<'_, Items> {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items.items.retain(|_, item| item.2 > Instant::now());
        items
    }
}

impl CasStore for Shelf {
    type Version = u64;

    async fn load(&self, key: &str) -> Result<Option<Loaded<u64>>, ratelimit::Error> {
        let items = self.items();
        let item = items.items.get(key);
        Ok(item.map(|(version, state, _)| Loaded::new(state.clone(), *version)))
    }

    async fn swap(&self, swap: &Swap<'_, u64>) -> Result<bool, ratelimit::Error> {
        let mut items = self.items();
        if items.items.get(swap.key).map(|item| &item.0) != swap.expected {
            return Ok(false);
        }
        items.changes += 1;
        let item = (
            items.changes,
            swap.state.to_vec(),
            Instant::now() + swap.keep,
        );
        items.items.insert(swap.key.to_owned(), item);
        Ok(true)
    }

    async fn delete(&self, key: &str) -> Result<(), ratelimit::Error> {
        self.items().items.remove(key);
        Ok(())
    }
}

#[aratelimit(key = tenant, rate = "3/s, 20/m", algorithm = "sliding_window")]
async fn search(tenant: &str) -> Result<(), Rejection> {
    let _ = tenant;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = CasBackend::builder(Shelf::default())
        .shared(false)
        .build()?;
    Registry::builder()
        .backend("shelf", backend)
        .default_backend("shelf")
        .install()?;
    for tenant in ["acme", "globex"] {
        for call in 1..=4 {
            match search(tenant).await {
                Ok(()) => println!("{tenant} {call}: admitted"),
                Err(rejection) => println!("{tenant} {call}: {rejection}"),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ratelimit_backends::cas::CasBackend;
    use ratelimit_tests::conformance::{Store, Time};

    use super::Shelf;

    #[derive(Default)]
    struct Shared(Arc<Shelf>);

    impl Store for Shared {
        fn open(
            &self,
            time: Time,
        ) -> ratelimit_core::BoxFuture<'_, Arc<dyn ratelimit_core::Backend>> {
            let builder = CasBackend::builder(Arc::clone(&self.0));
            let builder = match time {
                Time::Injected(clock) => builder.clock(clock),
                Time::Own => builder,
            };
            let backend = builder.build().expect("the default options");
            Box::pin(async { Arc::new(backend) as Arc<dyn ratelimit_core::Backend> })
        }

        /// It drops by the time of this machine.
        fn drops_by_injected_clock(&self) -> bool {
            false
        }
    }

    ratelimit_tests::conformance!(Shared::default());
}
