//! [`Servers`]: all of them, each with its part of the keys.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use memcache::exp::{Delete, Get, GetStatus, Meta, MutationStatus, Op, OpResult, Set, Ttl};
use ratelimit_core::{Error, ErrorKind, Pong};
use sha2::{Digest, Sha256};

use super::server::{Bounds, Server};
use super::welcome;
use crate::cas::{CasStore, Loaded, Swap};

/// A server counts whole seconds, and may be late by one.
const COARSE: u64 = 2;

/// The longest that anything is kept: a time that fits what the server counts it in, for decades to come.
const LONGEST: u64 = 10 * 366 * 86_400;

/// The servers of a backend.
pub(super) struct Servers {
    /// Each, with what stands for it when a key looks for its server.
    servers: Vec<(u64, Arc<Server>)>,
    bounds: Bounds,
}

impl Servers {
    pub(super) fn new(addresses: impl Iterator<Item = String>, bounds: Bounds) -> Self {
        let server = |address: String| {
            let number = number(address.as_bytes());
            (number, Arc::new(Server::new(address, bounds)))
        };
        Self {
            servers: addresses.map(server).collect(),
            bounds,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.iter().map(|(_, server)| server)
    }

    fn server_of(&self, key: &str) -> Result<&Arc<Server>, Error> {
        let server = self.servers.get(self.part(key));
        let message = "there is no server";
        let server = server.ok_or_else(|| Error::new(ErrorKind::Configuration, message))?;
        Ok(&server.1)
    }
}

/// What a text is known by, whoever asks, today and later.
fn number(text: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest[..8]
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Spreads what differs in a few bits: the last steps of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
fn spread(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

fn ttl(keep: Duration) -> Ttl {
    let part = u64::from(keep.subsec_nanos() > 0);
    let seconds = keep.as_secs().saturating_add(part + COARSE);
    Ttl::secs(u32::try_from(seconds.min(LONGEST)).unwrap_or(u32::MAX))
}

fn loaded(address: &str, got: memcache::exp::GetResult) -> Result<Option<Loaded<u64>>, Error> {
    match (got.status, got.value, got.item.cas) {
        (GetStatus::Miss, ..) => Ok(None),
        (GetStatus::Hit, Some(state), Some(version @ 1..)) => Ok(Some(Loaded::new(state, version))),
        (GetStatus::Hit, _, Some(0)) => Err(welcome::no_cas(address)),
        _ => Err(nonsense(address)),
    }
}

/// What a swap asks of a server.
fn operation(swap: &Swap<'_, u64>) -> Op {
    match swap.expected {
        Some(version) if swap.state.is_empty() => {
            let mut delete = Delete::new(swap.key);
            delete.compare_cas = Some(*version);
            delete.into()
        }
        Some(version) => {
            let set = Set::new(swap.key, swap.state).ttl(ttl(swap.keep));
            set.compare_cas(*version).into()
        }
        None => {
            let set = Set::new(swap.key, swap.state).ttl(ttl(swap.keep));
            set.add().into()
        }
    }
}

fn is_swapped(address: &str, result: &OpResult) -> Result<bool, Error> {
    let OpResult::Mutation(mutation) = result else {
        return Err(nonsense(address));
    };
    match mutation.status {
        MutationStatus::Applied => Ok(true),
        MutationStatus::NotFound | MutationStatus::AlreadyExists | MutationStatus::CasMismatch => {
            Ok(false)
        }
        _ => Err(nonsense(address)),
    }
}

fn nonsense(address: &str) -> Error {
    let message = format!("memcached at {address}: its answer makes no sense");
    Error::new(ErrorKind::Protocol, message)
}

fn too_large(address: &str, bytes: usize, largest: usize) -> Error {
    let message = format!(
        "memcached at {address}: a state of {bytes} bytes is more than an item holds, which is {largest}; lower `max_log`, or \
         start the server with larger items (`-I`)"
    );
    Error::new(ErrorKind::Unsupported, message)
}

fn only<T>(address: &str, mut answers: Vec<Result<T, Error>>) -> Result<T, Error> {
    answers.pop().unwrap_or_else(|| Err(nonsense(address)))
}

impl CasStore for Servers {
    /// What the server has counted when the item was stored.
    type Version = u64;

    async fn load(&self, key: &str) -> Result<Option<Loaded<u64>>, Error> {
        let server = self.server_of(key)?;
        only(&server.address, self.load_many(&[key]).await)
    }

    async fn swap(&self, swap: &Swap<'_, u64>) -> Result<bool, Error> {
        let server = self.server_of(swap.key)?;
        only(&server.address, self.swap_many(&[*swap]).await)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let server = self.server_of(key)?;
        only(&server.address, server.run(vec![Delete::new(key)]).await).map(drop)
    }

    /// They are all of one server.
    async fn load_many(&self, keys: &[&str]) -> Vec<Result<Option<Loaded<u64>>, Error>> {
        let Some(Ok(server)) = keys.first().map(|key| self.server_of(key)) else {
            return Vec::new();
        };
        let get = |key: &&str| Get::new(key).meta(Meta::NONE.cas());
        let got = server.run(keys.iter().map(get).collect()).await;
        got.into_iter()
            .map(|got| loaded(&server.address, got?))
            .collect()
    }

    /// They are all of one server.
    async fn swap_many(&self, swaps: &[Swap<'_, u64>]) -> Vec<Result<bool, Error>> {
        let Some(Ok(server)) = swaps.first().map(|swap| self.server_of(swap.key)) else {
            return Vec::new();
        };
        let largest = server.largest();
        // What is too large is not even sent: the server would answer, and forget what it has of the key.
        let fits = |swap: &&Swap<'_, u64>| swap.state.len() <= largest;
        let operations: Vec<_> = swaps.iter().filter(fits).map(operation).collect();
        let mut done = if operations.is_empty() {
            Vec::new().into_iter()
        } else {
            server.run(operations).await.into_iter()
        };
        let address = &*server.address;
        swaps
            .iter()
            .map(|swap| {
                if !fits(&swap) {
                    return Err(too_large(address, swap.state.len(), largest));
                }
                let done = done.next().unwrap_or_else(|| Err(nonsense(address)));
                is_swapped(address, &done?)
            })
            .collect()
    }

    /// The server that has the key: of all of them, the one that draws the highest number for it. So a server more or less
    /// moves no keys but its own, and the order of the servers does not matter.
    fn part(&self, key: &str) -> usize {
        if self.servers.len() < 2 {
            return 0;
        }
        let key = number(key.as_bytes());
        let drawn = self.servers.iter().map(|(server, _)| spread(key ^ server));
        let drawn = drawn.enumerate().max_by_key(|(_, number)| *number);
        drawn.map_or(0, |(index, _)| index)
    }

    /// Each of the servers says its version.
    async fn ping(&self) -> Result<Pong, Error> {
        let started = Instant::now();
        let said = self.all().map(|server| welcome::version(&server.address));
        let mut version = None;
        for said in join_all(said).await {
            version = Some(said?);
        }
        let pong = Pong::new(started.elapsed());
        Ok(match version {
            Some(version) => pong.with_version(version),
            None => pong,
        })
    }

    async fn close(&self) {
        for server in self.all() {
            server.close();
        }
    }

    fn bridged(&self) -> Option<Self> {
        let addresses = self.all().map(|server| server.address.clone());
        let bridged = Self::new(addresses, self.bounds);
        for (one, other) in bridged.all().zip(self.all()) {
            one.holds(other.largest());
        }
        Some(bridged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(addresses: &[&str]) -> Servers {
        let bounds = Bounds {
            connections: 1,
            connect_timeout: Duration::from_secs(1),
            back_off: (Duration::ZERO, Duration::ZERO),
        };
        Servers::new(addresses.iter().map(|it| (*it).to_owned()), bounds)
    }

    fn address<'s>(servers: &'s Servers, key: &str) -> &'s str {
        &servers.server_of(key).unwrap().address
    }

    #[test]
    fn a_server_more_moves_no_keys_but_to_itself() {
        let three = servers(&["a:1", "b:1", "c:1"]);
        let four = servers(&["d:1", "c:1", "b:1", "a:1"]);
        let mut count = std::collections::HashMap::<_, u32>::new();
        for key in 0..4_000 {
            let key = format!("ratelimit:{{{key}}}:login:gcra");
            let (before, after) = (address(&three, &key), address(&four, &key));
            assert!(before == after || after == "d:1", "{key}");
            *count.entry(after).or_default() += 1;
        }
        assert_eq!(count.len(), 4);
        assert!(count.values().all(|count| *count > 800), "{count:?}");
    }

    #[test]
    fn keys_stay_where_they_are_for_good() {
        // What another release finds elsewhere is a fresh budget.
        let three = servers(&["a:1", "b:1", "c:1"]);
        let found: String = (0..12)
            .map(|key| &address(&three, &format!("key {key}"))[..1])
            .collect();
        assert_eq!(found, "caacbabbbccc");
    }

    #[test]
    fn what_is_kept_is_kept_for_long_enough() {
        assert_eq!(ttl(Duration::from_millis(1)), Ttl::secs(3));
        assert_eq!(ttl(Duration::from_mins(1)), Ttl::secs(62));
        assert_eq!(ttl(Duration::MAX), Ttl::secs(316_224_000));
    }
}
