//! A request as it comes in, made of the fuzzer's input, and what it says by its own lines.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arbitrary::{Result, Unstructured};
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri};

use crate::text::{bytes, long_bytes};

/// A request, and the lines of which its headers were made.
pub(super) struct Incoming {
    pub(super) parts: Parts,
    lines: Vec<(HeaderName, Vec<u8>)>,
    peer: Option<SocketAddr>,
}

const METHODS: [&str; 5] = ["GET", "POST", "OPTIONS", "get", "M-SEARCH"];
const URIS: [&str; 8] = [
    "/",
    "/a/b?c=d",
    "/a/b",
    "*",
    "http://example.org",
    "http://example.org/a/b?c",
    "example.org:443",
    "/%61/b",
];
const NAMES: [&str; 7] = [
    "x-api-key",
    "X-Api-Key",
    "cookie",
    "authorization",
    "x-forwarded-for",
    "forwarded",
    "host",
];

impl Incoming {
    pub(super) fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let (method, uri) = (method(input)?, uri(input)?);
        Ok(Self::of(method, uri, lines(input)?, peer(input)?))
    }

    /// A request that differs from another in some of its parts, the address in one bit at times.
    pub(super) fn like(other: &Self, input: &mut Unstructured<'_>) -> Result<Self> {
        let mut differs = || input.ratio(1, 2);
        let [new_method, new_uri, new_lines] = [differs()?, differs()?, differs()?];
        let method = if new_method {
            method(input)?
        } else {
            other.parts.method.clone()
        };
        let uri = if new_uri {
            uri(input)?
        } else {
            other.parts.uri.clone()
        };
        let lines = if new_lines {
            lines(input)?
        } else {
            other.lines.clone()
        };
        let peer = match (other.peer, input.int_in_range(0..=3)?) {
            (peer, 0) => peer,
            (Some(peer), 1 | 2) => Some(near(peer, input)?),
            _ => peer(input)?,
        };
        Ok(Self::of(method, uri, lines, peer))
    }

    fn of(
        method: Method,
        uri: Uri,
        lines: Vec<(HeaderName, Vec<u8>)>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let mut parts = Request::new(()).into_parts().0;
        (parts.method, parts.uri) = (method, uri);
        for (name, value) in &lines {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                parts.headers.append(name, value);
            }
        }
        if let Some(peer) = peer {
            parts.extensions.insert(peer);
        }
        Self { parts, lines, peer }
    }

    /// The first line of a header.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.lines.iter().filter(|line| line.0.as_str() == name);
        named.next().map(|line| line.1.as_slice())
    }

    /// The address that the client is counted under: IPv4, or half of an IPv6 address.
    pub(super) fn client(&self) -> Option<Vec<u8>> {
        Some(match self.peer?.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => match address.octets() {
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, mapped @ ..] => mapped.to_vec(),
                octets => octets[..8].to_vec(),
            },
        })
    }

    /// What of the target is before the query.
    pub(super) fn path(&self) -> Vec<u8> {
        self.parts.uri.path().into()
    }

    pub(super) fn method(&self) -> Vec<u8> {
        self.parts.method.as_str().into()
    }
}

fn method(input: &mut Unstructured<'_>) -> Result<Method> {
    let method = match input.int_in_range(0..=METHODS.len())? {
        index if index < METHODS.len() => METHODS[index].as_bytes(),
        _ => bytes(input, 20)?,
    };
    Ok(Method::from_bytes(method).unwrap_or_default())
}

fn uri(input: &mut Unstructured<'_>) -> Result<Uri> {
    Ok(match input.int_in_range(0..=URIS.len() + 1)? {
        index if index < URIS.len() => Uri::from_static(URIS[index]),
        index if index == URIS.len() => {
            Uri::try_from([b"/", &*long_bytes(input, 20)?].concat()).unwrap_or_default()
        }
        _ => Uri::try_from(bytes(input, 60)?).unwrap_or_default(),
    })
}

fn lines(input: &mut Unstructured<'_>) -> Result<Vec<(HeaderName, Vec<u8>)>> {
    let mut lines = Vec::new();
    for _ in 0..input.int_in_range(0..=6)? {
        let name = match input.int_in_range(0..=NAMES.len())? {
            index if index < NAMES.len() => NAMES[index].as_bytes(),
            _ => bytes(input, 12)?,
        };
        let value = long_bytes(input, 24)?;
        if let Ok(name) = HeaderName::from_bytes(name)
            && HeaderValue::from_bytes(&value).is_ok()
        {
            lines.push((name, value));
        }
    }
    Ok(lines)
}

fn peer(input: &mut Unstructured<'_>) -> Result<Option<SocketAddr>> {
    let port: u16 = input.arbitrary()?;
    let address: IpAddr = match input.int_in_range(0..=3)? {
        0 => return Ok(None),
        1 => input.arbitrary::<[u8; 4]>()?.into(),
        2 => Ipv4Addr::from(input.arbitrary::<[u8; 4]>()?)
            .to_ipv6_mapped()
            .into(),
        _ => input.arbitrary::<[u8; 16]>()?.into(),
    };
    Ok(Some(SocketAddr::new(address, port)))
}

/// Another port, and an address of which at most one bit differs.
fn near(peer: SocketAddr, input: &mut Unstructured<'_>) -> Result<SocketAddr> {
    let bit = input.int_in_range(0..=128)?;
    let address = match peer.ip() {
        IpAddr::V4(address) => {
            Ipv4Addr::from_bits(address.to_bits() ^ 1_u32.unbounded_shl(bit)).into()
        }
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() ^ 1_u128.unbounded_shl(bit)).into()
        }
    };
    Ok(SocketAddr::new(address, input.arbitrary()?))
}
