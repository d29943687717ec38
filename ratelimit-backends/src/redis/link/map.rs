//! [`Map`]: which node of a cluster has which slot.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Client, ConnectionAddr, ErrorKind, RedisResult, Value};

use super::LinkOptions;
use super::endpoint::Endpoint;
use super::pool::Pool;

const SLOTS: usize = 16_384;

/// No cluster has as many nodes. Who is told of more is lied to, and must not remember them all.
const MOST_NODES: usize = 4_096;

/// Nobody has it.
const NOBODY: u16 = u16::MAX;

/// A node: where it is, and the connections to it.
pub(super) struct Node {
    pub(super) client: Arc<Client>,
    pub(super) pool: Pool,
}

/// A host and a port.
pub(super) type Address = (String, u16);

/// Which node has which slot.
#[derive(Clone)]
pub(super) struct Map {
    nodes: Vec<(Address, Arc<Node>)>,
    owners: Box<[u16]>,
}

/// Slots, and the address of who has them.
pub(super) type Range = (u16, u16, Address);

impl Map {
    /// Nobody has anything.
    pub(super) fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            owners: vec![NOBODY; SLOTS].into(),
        }
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        let owner = *self.owners.get(usize::from(slot))?;
        self.nodes.get(usize::from(owner)).map(|(_, node)| node)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().map(|(_, node)| node)
    }

    /// The node at an address. One that is not known is reached as the others are.
    pub(super) fn node_at(
        &mut self,
        address: Address,
        like: &Client,
        options: &LinkOptions,
    ) -> RedisResult<u16> {
        let known = self.nodes.iter().position(|(there, _)| *there == address);
        let index = match known {
            Some(index) => index,
            None if self.nodes.len() >= MOST_NODES => {
                let message = "a cluster does not have as many nodes as we are told of";
                return Err((ErrorKind::UnexpectedReturnType, message).into());
            }
            None => {
                let client = Arc::new(beside(like, &address)?);
                let pool = Pool::new(Endpoint::Server(Arc::clone(&client)), options.clone());
                self.nodes.push((address, Arc::new(Node { client, pool })));
                self.nodes.len() - 1
            }
        };
        Ok(u16::try_from(index).unwrap_or(NOBODY))
    }

    pub(super) fn node(&self, index: u16) -> Option<&Arc<Node>> {
        self.nodes.get(usize::from(index)).map(|(_, node)| node)
    }

    /// From now on that node has the slot.
    pub(super) fn give(&mut self, slot: u16, node: u16) {
        if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
            *owner = node;
        }
    }

    /// The map of these ranges. Nodes that are known keep their connections, others are forgotten.
    pub(super) fn of(
        ranges: &[Range],
        known: &Self,
        like: &Client,
        options: &LinkOptions,
    ) -> RedisResult<Self> {
        let known: HashMap<_, _> = known.nodes.iter().cloned().collect();
        let mut map = Self::empty();
        for (first, last, address) in ranges {
            if let Some(node) = known.get(address)
                && map.nodes.iter().all(|(there, _)| there != address)
            {
                map.nodes.push((address.clone(), Arc::clone(node)));
            }
            let node = map.node_at(address.clone(), like, options)?;
            for slot in *first..=*last {
                map.give(slot, node);
            }
        }
        Ok(map)
    }
}

/// The same client, but of the server at another address.
fn beside(like: &Client, (host, port): &Address) -> RedisResult<Client> {
    let info = like.get_connection_info().clone();
    let mut address = info.addr().clone();
    match &mut address {
        ConnectionAddr::TcpTls {
            host: there,
            port: at,
            ..
        } => {
            host.clone_into(there);
            *at = *port;
        }
        other => *other = ConnectionAddr::Tcp(host.clone(), *port),
    }
    Client::open(info.set_addr(address))
}

/// The address of a client's server, if it has one.
pub(super) fn address_of(client: &Client) -> Option<Address> {
    match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// What a node answers to `CLUSTER SLOTS`. One that does not say its host is where it was asked.
pub(super) fn ranges(answer: &Value, asked: &Client) -> Option<Vec<Range>> {
    let Value::Array(entries) = answer else {
        return None;
    };
    let here = address_of(asked).map(|(host, _)| host);
    let mut ranges = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Array(entry) = entry else {
            return None;
        };
        let [
            Value::Int(first),
            Value::Int(last),
            Value::Array(master),
            ..,
        ] = &entry[..]
        else {
            return None;
        };
        let [host, Value::Int(port), ..] = &master[..] else {
            return None;
        };
        let host = match host {
            Value::BulkString(host) => core::str::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            Value::Nil => "",
            _ => return None,
        };
        let host = match host {
            "" | "?" => here.clone()?,
            host => host.to_owned(),
        };
        let slot = |number: i64| {
            let number = u16::try_from(number).ok()?;
            (usize::from(number) < SLOTS).then_some(number)
        };
        ranges.push((
            slot(*first)?,
            slot(*last)?,
            (host, u16::try_from(*port).ok()?),
        ));
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn client() -> Client {
        Client::open("redis://user:word@seed:7000/").expect("a URL")
    }

    fn options() -> LinkOptions {
        LinkOptions {
            connections: 1,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            back_off: (Duration::from_millis(1), Duration::from_secs(1)),
            outstanding: 1,
        }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(first: i64, last: i64, host: Value, port: i64) -> Value {
        let master = Value::Array(vec![host, Value::Int(port), bulk("id")]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    #[test]
    fn nodes_are_where_they_say_or_where_they_were_asked() {
        let answer = Value::Array(vec![
            entry(0, 5_460, bulk("10.0.0.1"), 7_001),
            entry(5_461, 10_922, Value::Nil, 7_002),
            entry(10_923, 16_383, bulk("?"), 7_003),
        ]);
        let ranges = ranges(&answer, &client()).expect("it makes sense");
        let map = Map::of(&ranges, &Map::empty(), &client(), &options()).expect("addresses");
        let at = |slot: u16| address_of(&map.owner(slot).expect("a node").client).expect("TCP");
        assert_eq!(at(0), ("10.0.0.1".to_owned(), 7_001));
        assert_eq!(at(5_460), at(0));
        assert_eq!(at(5_461), ("seed".to_owned(), 7_002));
        assert_eq!(at(16_383), ("seed".to_owned(), 7_003));
        // They are spoken to as the first one is.
        let node = map.owner(0).expect("a node");
        let settings = node.client.get_connection_info().redis_settings();
        assert_eq!(settings.password(), Some("word"));
        // Who is known keeps its connections.
        let again = Map::of(&ranges[..2], &map, &client(), &options()).expect("addresses");
        assert!(Arc::ptr_eq(again.owner(0).expect("a node"), node));
        assert_eq!(again.nodes().count(), 2);
        assert!(again.owner(16_383).is_none());
        assert!(again.owner(u16::MAX).is_none());
    }

    #[test]
    fn what_makes_no_sense_is_no_map() {
        let list = |entry: Value| Value::Array(vec![entry]);
        for answer in [
            Value::Nil,
            bulk("0-16383"),
            list(Value::Int(1)),
            list(Value::Array(Vec::new())),
            list(Value::Array(vec![Value::Int(0), Value::Int(1)])),
            list(entry(-1, 5, bulk("host"), 1)),
            list(entry(0, 16_384, bulk("host"), 1)),
            list(entry(0, 1 << 40, bulk("host"), 1)),
            list(entry(0, 1, bulk("host"), 1 << 16)),
            list(entry(0, 1, bulk("host"), -1)),
            list(entry(0, 1, Value::Int(7), 1)),
            list(entry(0, 1, Value::BulkString(vec![0xff]), 1)),
        ] {
            assert!(ranges(&answer, &client()).is_none(), "{answer:?}");
        }
        // From the end to the beginning there is nothing.
        let backwards = list(entry(9, 3, bulk("host"), 1));
        let ranges = ranges(&backwards, &client()).expect("numbers");
        let map = Map::of(&ranges, &Map::empty(), &client(), &options()).expect("addresses");
        assert!((0..16).all(|slot| map.owner(slot).is_none()));
    }

    #[test]
    fn nodes_are_not_remembered_without_end() {
        let ends = |host: u16| (host, host, (format!("host{host}"), 7_000));
        let (seed, options) = (client(), options());
        let most: Vec<Range> = (0..4_096).map(ends).collect();
        let mut map = Map::of(&most, &Map::empty(), &seed, &options).expect("a large cluster");
        let known = ("host7".to_owned(), 7_000);
        assert_eq!(map.node_at(known, &seed, &options).expect("it is known"), 7);
        let another = ("another".to_owned(), 7_000);
        assert!(map.node_at(another, &seed, &options).is_err());
        assert_eq!(map.nodes().count(), 4_096);
    }
}
