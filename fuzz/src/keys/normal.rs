//! What a key is, whatever its type in Rust, and a reader of encoded keys.

use core::str;

use ratelimit::{Key, KeyBuf, KeyRef};

/// A key without what does not matter: two values are one key exactly when these are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Normal {
    /// Of whatever integer type; zero is not negative.
    Integer {
        negative: bool,
        magnitude: u128,
    },
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Char(char),
    V4([u8; 4]),
    V6([u8; 16]),
    None,
    Some(Box<Normal>),
    /// A tuple or a struct.
    Fields(Vec<Normal>),
    Variant(String, Vec<Normal>),
    List(Vec<Normal>),
}

/// Encodes through the product, in the plainest type there is.
impl Key for Normal {
    fn encode(&self, out: &mut KeyBuf) {
        match self {
            Self::Integer {
                negative: false,
                magnitude,
            } => magnitude.encode(out),
            Self::Integer {
                negative: true,
                magnitude,
            } => {
                0_i128.wrapping_sub_unsigned(*magnitude).encode(out);
            }
            Self::Text(text) => text.encode(out),
            Self::Bytes(bytes) => KeyRef::from_bytes(bytes).encode(out),
            Self::Bool(truth) => truth.encode(out),
            Self::Char(character) => character.encode(out),
            Self::V4(octets) => core::net::Ipv4Addr::from(*octets).encode(out),
            Self::V6(octets) => core::net::Ipv6Addr::from(*octets).encode(out),
            Self::None => None::<u8>.encode(out),
            Self::Some(key) => Some(key).encode(out),
            Self::Fields(fields) => {
                out.fields(fields.len());
                fields.iter().for_each(|field| field.encode(out));
            }
            Self::Variant(name, fields) => {
                out.variant(name, fields.len());
                fields.iter().for_each(|field| field.encode(out));
            }
            Self::List(keys) => keys.encode(out),
        }
    }
}

/// How deep the keys are that the reader follows.
const DEEPEST: usize = 64;

/// Reads keys one after the other. Bytes that the encoding never gives are no key: a number with a
/// zero in front, a length in more groups than it needs, a negative zero.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            depth: 0,
        }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next key, if there is one.
    pub(super) fn key(&mut self) -> Option<Normal> {
        if self.depth == DEEPEST {
            return None;
        }
        self.depth += 1;
        let key = self.tagged();
        self.depth -= 1;
        key
    }

    fn tagged(&mut self) -> Option<Normal> {
        let [tag] = self.array()?;
        Some(match tag {
            b'i' | b'n' => self.integer(tag == b'n')?,
            b't' => Normal::Text(self.text()?),
            b'b' => Normal::Bytes(self.counted()?.to_vec()),
            b'?' => match self.array()? {
                [0] => Normal::Bool(false),
                [1] => Normal::Bool(true),
                _ => return None,
            },
            b'c' => Normal::Char(char::from_u32(u32::from_be_bytes(self.array()?))?),
            b'4' => Normal::V4(self.array()?),
            b'6' => Normal::V6(self.array()?),
            b'-' => Normal::None,
            b'+' => Normal::Some(Box::new(self.key()?)),
            b'(' => Normal::Fields(self.keys()?),
            b'|' => Normal::Variant(self.text()?, self.keys()?),
            b'[' => Normal::List(self.keys()?),
            _ => return None,
        })
    }

    fn integer(&mut self, negative: bool) -> Option<Normal> {
        let bytes = self.counted()?;
        if bytes.first() == Some(&0) || bytes.len() > 16 {
            return None;
        }
        let magnitude = bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u128::from(*byte));
        let fits = !negative || (1..=i128::MIN.unsigned_abs()).contains(&magnitude);
        fits.then_some(Normal::Integer {
            negative,
            magnitude,
        })
    }

    fn keys(&mut self) -> Option<Vec<Normal>> {
        let count = self.length()?;
        // A key is at least a byte: an absurd count stops at once.
        (count <= self.rest.len()).then(|| (0..count).map(|_| self.key()).collect())?
    }

    fn text(&mut self) -> Option<String> {
        str::from_utf8(self.counted()?).ok().map(str::to_owned)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.array()?;
            let group = usize::from(byte & 0x7f);
            if group << shift >> shift != group {
                return None;
            }
            length |= group << shift;
            if byte & 0x80 == 0 {
                let shortest = group > 0 || shift == 0;
                return shortest.then_some(length);
            }
        }
        None
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}
