//! Memcached, and GCRA as it is usually written by hand for it: `gets` and `cas` for each check, once more if somebody was faster.

use core::time::Duration;
use std::time::SystemTime;

use memcache::exp::{AsyncMetaClient, Get, Meta, MutationStatus, Set, Ttl};
use ratelimit::MemcachedBackend;
use ratelimit_tests::servers::memcached::Memcached;

use crate::contenders::{Contender, GENEROUS, Ours};
use crate::side_by_side::compare;
use crate::{PATIENCE, Settings, runtime};

/// Nanoseconds between two units, and how many may come at once.
const INTERVAL: u64 = 1_000;
const BURST: u64 = 1_000_000;

/// How many connections there are at once.
const CONNECTIONS: usize = 16;

/// One server.
pub fn memcached(settings: &Settings) {
    let server = Memcached::start();
    let runtime = runtime(2);
    let ours = runtime.block_on(async {
        let backend = MemcachedBackend::builder([server.address()]).timeout(PATIENCE);
        Ours::alone(backend.connect().await.expect("it is there"), GENEROUS)
    });
    let by_hand = runtime.block_on(ByHand::new(server.address()));
    compare("Memcached", &runtime, ours, by_hand, settings);
}

/// The client of ours, and eight bytes for each key.
struct ByHand(AsyncMetaClient);

impl ByHand {
    async fn new(address: String) -> Self {
        let client = AsyncMetaClient::builder()
            .max_connections(Some(CONNECTIONS))
            .max_idle(CONNECTIONS)
            .connect_timeout(None)
            .io_timeout(None);
        let client = client.connect_async(address).await;
        Self(client.expect("it is there"))
    }
}

impl Contender for ByHand {
    const NAME: &'static str = "by hand";

    async fn decide(&self, key: &str) -> bool {
        loop {
            let get = Get::new(key).meta(Meta::NONE.cas());
            let found = self.0.run(get).await.expect("it answers");
            let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time");
            let now = u64::try_from(now.as_nanos()).expect("a time");
            let tat = found.value.as_ref().map_or(now, |found| {
                let found = found[..].try_into().expect("eight bytes");
                u64::from_le_bytes(found).max(now)
            });
            if tat + INTERVAL > now + INTERVAL * BURST {
                return false;
            }
            let next = tat + INTERVAL;
            let lasts = Duration::from_nanos(next - now).as_secs() + 1;
            let lasts = u32::try_from(lasts).expect("a second or two");
            let set = Set::new(key, next.to_le_bytes()).ttl(Ttl::secs(lasts));
            let set = match found.item.cas {
                Some(version) => set.compare_cas(version),
                None => set.add(),
            };
            let stored = self.0.run(set).await.expect("it answers");
            if stored.status == MutationStatus::Applied {
                return true;
            }
        }
    }
}
