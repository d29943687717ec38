//! [`Cluster`]: sends each command to the node that has its slot, and follows slots that move.
//!
//! Each node has connections of its own, so that one that is slow or down holds up nothing but its own slots. What may
//! have been decided is never asked again: only what a node has refused, because the slot is elsewhere, goes on to
//! where it said.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::join_all;
use ratelimit_core::{Error, ErrorKind};
use redis::{Client, Cmd, RedisError, ServerErrorKind, Value};

use super::map::{Map, Node, address_of};
use super::pool::Sent;
use super::search::{self, Searches};
use super::{Failure, LinkOptions};
use crate::redis::errors;

/// How often a command is sent on, as slots move while it is under way.
const REDIRECTS: u32 = 8;

pub(super) struct Cluster {
    shared: Arc<Shared>,
}

/// What searches share with the cluster.
pub(super) struct Shared {
    /// Those that the user named.
    pub(super) nodes: Vec<Arc<Client>>,
    pub(super) options: LinkOptions,
    pub(super) searches: Searches,
    map: RwLock<Arc<Map>>,
    closed: AtomicBool,
}

/// Where a node sends a command on to.
enum Redirect {
    /// The slot is there now.
    Moved,
    /// This key may be there already.
    Ask,
}

impl Cluster {
    pub(super) fn new(nodes: Vec<Arc<Client>>, options: LinkOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                nodes,
                options,
                searches: Searches::default(),
                map: RwLock::new(Arc::new(Map::empty())),
                closed: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn is_open(&self) -> Result<(), Error> {
        self.shared.is_open()
    }

    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        let last = self.shared.swap(Arc::new(Map::empty()));
        for node in last.nodes() {
            node.pool.close();
        }
    }

    pub(super) async fn call(&self, slot: u16, command: &Cmd) -> Result<Value, Failure> {
        let mut node = self.owner(slot).await.map_err(Failure::Unasked)?;
        let mut asking = false;
        for _ in 0..REDIRECTS {
            let error = match node.pool.call(Sent { command, asking }).await {
                Ok(value) => return Ok(value),
                Err(Failure::Told(error)) => error,
                Err(unasked) => {
                    // Its slots may be elsewhere by now.
                    self.look();
                    return Err(unasked);
                }
            };
            let Some(redirect) = redirect(&error) else {
                if errors::is_of_node(&error) {
                    self.look();
                }
                return Err(Failure::Told(error));
            };
            asking = matches!(redirect, Redirect::Ask);
            match self.shared.follow(&error, slot, &node, asking) {
                Some(next) => node = next,
                None => return Err(Failure::Told(error)),
            }
            if !asking {
                // Others may have moved as well.
                self.look();
            }
        }
        let message = format!("the slot {slot} moved {REDIRECTS} times meanwhile");
        Err(Failure::Unasked(Error::new(ErrorKind::Connection, message)))
    }

    /// To each node that has slots.
    pub(super) async fn call_all(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        self.owner(0).await.map_err(Failure::Unasked)?;
        let map = self.shared.map();
        let asking = false;
        let nodes = map
            .nodes()
            .map(|node| node.pool.call(Sent { command, asking }));
        join_all(nodes).await.into_iter().collect()
    }

    /// The node that has a slot, after a search if none is known.
    async fn owner(&self, slot: u16) -> Result<Arc<Node>, Error> {
        self.shared.is_open()?;
        if let Some(node) = self.shared.map().owner(slot) {
            return Ok(Arc::clone(node));
        }
        if let Some(search) = search::start(&self.shared)? {
            search::wait(search).await?;
        }
        self.shared.is_open()?;
        let map = self.shared.map();
        map.owner(slot).cloned().ok_or_else(|| {
            let message = format!("no node of the cluster has the slot {slot}");
            Error::new(ErrorKind::Connection, message)
        })
    }

    /// Looks in the background whether the map is still right.
    fn look(&self) {
        // What comes of it, the next call will see.
        let _ = search::start(&self.shared);
    }
}

impl Shared {
    fn is_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(super::pool::closed());
        }
        Ok(())
    }

    pub(super) fn map(&self) -> Arc<Map> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&map)
    }

    fn swap(&self, map: Arc<Map>) -> Arc<Map> {
        let mut place = self.map.write().unwrap_or_else(PoisonError::into_inner);
        core::mem::replace(&mut place, map)
    }

    /// What a search has found.
    pub(super) fn put(&self, map: Map) -> Result<(), Error> {
        self.is_open()?;
        drop(self.swap(Arc::new(map)));
        Ok(())
    }

    /// The node that a refusal names. Where the slot is there for good, that is remembered.
    fn follow(
        &self,
        error: &RedisError,
        slot: u16,
        from: &Node,
        asking: bool,
    ) -> Option<Arc<Node>> {
        let (address, _) = error.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match host.trim_matches(['[', ']']) {
            // It is where it was asked.
            "" | "?" => address_of(&from.client)?.0,
            host => host.to_owned(),
        };
        let mut place = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let map = Arc::make_mut(&mut place);
        let index = map
            .node_at((host, port), &from.client, &self.options)
            .ok()?;
        if !asking {
            map.give(slot, index);
        }
        map.node(index).cloned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.close();
    }
}

fn redirect(error: &RedisError) -> Option<Redirect> {
    match error.kind() {
        redis::ErrorKind::Server(ServerErrorKind::Moved) => Some(Redirect::Moved),
        redis::ErrorKind::Server(ServerErrorKind::Ask) => Some(Redirect::Ask),
        _ => None,
    }
}
