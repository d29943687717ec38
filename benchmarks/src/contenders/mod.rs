//! Who is compared: one file for each crate, behind one small trait. What is timed is generic over
//! it, so that every contender is compiled into a loop of its own.

mod governor;
mod leaky_bucket;
mod limitador;
mod nothing;
pub mod ours;
mod ratelimit_published;
mod trypema;

use crate::keys::BenchKey;
use crate::racer::Racer;

pub use governor::{Direct as GovernorDirect, Keyed as GovernorKeyed, KeyedHashMap};
pub use leaky_bucket::LeakyBucket;
pub use limitador::Limitador;
pub use nothing::{NewMemory, Nothing};
pub use ours::{Ours, OursByCheck, OursDirect};
pub use ratelimit_published::Published;
pub use trypema::Trypema;

/// The names that the tables use.
pub mod name {
    pub const OURS: &str = "ours";
    pub const OURS_BY_CHECK: &str = "ours, any backend";
    pub const GOVERNOR: &str = "governor";
    pub const GOVERNOR_DASHMAP: &str = "governor, DashMap";
    pub const GOVERNOR_HASHMAP: &str = "governor, HashMap";
    pub const LEAKY_BUCKET: &str = "leaky-bucket";
    pub const LIMITADOR: &str = "limitador";
    pub const NOTHING: &str = "no-op";
    pub const NEW_MEMORY: &str = "no-op with new memory";
    pub const PUBLISHED: &str = "ratelimit (published)";
    pub const TRYPEMA: &str = "trypema";
}

/// One limiter of one crate, used the way that its users would in its fastest correct form.
pub trait Contender<K>: Send + Sync + 'static {
    /// A limiter that will see so many keys.
    fn new(quota: crate::quota::Quota, keys: usize) -> Self;

    /// One decision of one unit.
    fn is_allowed(&self, key: &K) -> bool;

    /// Gives back the memory of keys that are as good as fresh, where that is the caller's task.
    /// Says whether it is.
    fn forget_expired(&self) -> bool {
        false
    }
}

/// How to make a contender.
pub struct Entry<K> {
    pub name: &'static str,
    /// It takes part up to so many keys.
    pub most_keys: u32,
    /// It is so much slower that it makes but this fraction of the decisions.
    pub share: usize,
    pub make: fn(crate::quota::Quota, usize) -> Box<dyn Racer<K>>,
}

impl<K: Clone + Send + Sync + 'static> Entry<K> {
    pub fn of<C: Contender<K>>(name: &'static str) -> Self {
        Self {
            name,
            most_keys: u32::MAX,
            share: 1,
            make: |quota, keys| Box::new(C::new(quota, keys)),
        }
    }

    fn up_to(self, most_keys: u32) -> Self {
        Self { most_keys, ..self }
    }

    fn slow(self, share: usize) -> Self {
        Self { share, ..self }
    }
}

/// Those with a key of any type.
pub fn keyed<K: BenchKey>() -> Vec<Entry<K>> {
    vec![
        Entry::of::<Ours>(name::OURS),
        Entry::of::<GovernorKeyed<K>>(name::GOVERNOR_DASHMAP),
    ]
}

/// Those whose key is a text: all that have keys.
pub fn keyed_by_string() -> Vec<Entry<String>> {
    let mut all = keyed();
    all.insert(1, Entry::of::<OursByCheck>(name::OURS_BY_CHECK));
    all.push(Entry::of::<KeyedHashMap<String>>(name::GOVERNOR_HASHMAP));
    all.push(Entry::of::<Trypema>(name::TRYPEMA));
    all.push(
        Entry::of::<Limitador>(name::LIMITADOR)
            // Ten million of its counters would need more memory than a usual machine has.
            .up_to(1_000_000)
            .slow(20),
    );
    all
}

/// Those without a key.
pub fn direct() -> Vec<Entry<()>> {
    vec![
        Entry::of::<OursDirect>(name::OURS),
        Entry::of::<GovernorDirect>(name::GOVERNOR),
        Entry::of::<Published>(name::PUBLISHED),
        Entry::of::<LeakyBucket>(name::LEAKY_BUCKET),
        Entry::of::<Trypema>(name::TRYPEMA),
        Entry::of::<Limitador>(name::LIMITADOR).slow(20),
    ]
}
