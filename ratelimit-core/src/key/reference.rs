//! [`KeyRef`]: a key that is borrowed, in two parts.

use core::cmp::Ordering;
use core::fmt;
use std::borrow::Cow;

use super::tag;

/// The most bytes of a head.
const HEAD: usize = 15;

/// The borrowed bytes of a key.
///
/// They are the bytes of a [`KeyBuf`](super::KeyBuf), in two parts: a head of up to fifteen, kept
/// by value, and a tail. So a key that is one text borrows that text, one that is a number or an
/// address borrows nothing, and neither is copied to be asked about. How bytes are split follows
/// from the bytes alone: what is equal is split alike.
///
/// Its `Debug` form shows the length alone: keys carry what clients send, and secrets among it.
///
/// ```
/// use ratelimit_core::{Key, KeyBuf, KeyRef};
///
/// let mut scratch = KeyBuf::new();
/// let borrowed = "alice".key_ref(&mut scratch);
/// assert_eq!(borrowed, KeyBuf::of("alice").as_ref());
/// assert_eq!(borrowed.as_bytes(), KeyBuf::of("alice").as_bytes());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyRef<'a> {
    /// The first bytes, the very first of them lowest; zeros behind them.
    head: [u64; 2],
    length: u8,
    tail: &'a [u8],
}

impl<'a> KeyRef<'a> {
    /// Bytes that are a key already, from [`as_bytes`](Self::as_bytes).
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        let length = head_of(bytes);
        let (head, tail) = bytes.split_at_checked(length).unwrap_or((&[], bytes));
        let mut first = [0; 16];
        if let Some(place) = first.get_mut(..head.len()) {
            place.copy_from_slice(head);
        }
        Self::in_parts(u128::from_le_bytes(first), length, tail)
    }

    /// The key of a text, which is borrowed.
    #[inline]
    pub(super) fn tagged(tag: u8, bytes: &'a [u8]) -> Self {
        if bytes.len() < 0x80 {
            let head = u128::from(tag) | (bytes.len() as u128) << 8;
            return Self::in_parts(head, 2, bytes);
        }
        let (mut head, mut count, mut length) = (u128::from(tag), 1, bytes.len());
        while length > 0 {
            let more = if length < 0x80 { 0 } else { 0x80 };
            head |= ((length as u128 & 0x7f) | more) << (8 * count);
            length >>= 7;
            count += 1;
        }
        Self::in_parts(head, count, bytes)
    }

    /// The key of a number, in as few bytes as it needs.
    #[inline]
    pub(super) fn number(tag: u8, magnitude: u64) -> Self {
        let count = 8 - magnitude.leading_zeros() / 8;
        // The highest byte comes first; shifted by all of it, nothing is left of a zero.
        let bytes = u128::from(magnitude.swap_bytes()) >> (64 - 8 * count);
        let head = u128::from(tag) | u128::from(count) << 8 | bytes << 16;
        Self::in_parts(head, count as usize + 2, &[])
    }

    /// The key of few bytes.
    #[inline]
    pub(super) fn fixed<const N: usize>(tag: u8, bytes: [u8; N]) -> Self {
        const { assert!(N < HEAD) };
        let mut head = [0; 16];
        head[0] = tag;
        head[1..=N].copy_from_slice(&bytes);
        Self::in_parts(u128::from_le_bytes(head), N + 1, &[])
    }

    #[inline]
    fn in_parts(head: u128, length: usize, tail: &'a [u8]) -> Self {
        #[allow(clippy::cast_possible_truncation)] // its halves; at most fifteen
        let (head, length) = ([head as u64, (head >> 64) as u64], length as u8);
        Self { head, length, tail }
    }

    /// The key of which these are the [parts](Self::parts). Parts of no key make one that need not
    /// equal any other; a head is cut to what it can hold, and to its length.
    #[inline]
    pub fn from_parts(head: [u64; 2], length: u8, tail: &'a [u8]) -> Self {
        let length = usize::from(length).min(HEAD);
        let kept = (1_u128 << (8 * length)) - 1;
        let head = u128::from(head[0]) | u128::from(head[1]) << 64;
        Self::in_parts(head & kept, length, tail)
    }

    /// The two parts: the first bytes, the very first of them lowest in the first number, and how
    /// many they are; and those behind them. A backend that only needs to tell keys apart needs no
    /// more.
    #[inline]
    pub const fn parts(self) -> ([u64; 2], u8, &'a [u8]) {
        (self.head, self.length, self.tail)
    }

    /// How many bytes there are.
    #[inline]
    pub const fn len(self) -> usize {
        self.length as usize + self.tail.len()
    }

    /// Whether there are none: the key of a policy that has one bucket for all.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    pub fn as_bytes(self) -> Cow<'a, [u8]> {
        if self.length == 0 {
            return Cow::Borrowed(self.tail);
        }
        let mut bytes = Vec::with_capacity(self.len());
        self.write_to(|part| bytes.extend_from_slice(part));
        Cow::Owned(bytes)
    }

    /// Hands the bytes over, in their order.
    pub(super) fn write_to(self, mut write: impl FnMut(&[u8])) {
        let mut head = [0; 16];
        head[..8].copy_from_slice(&self.head[0].to_le_bytes());
        head[8..].copy_from_slice(&self.head[1].to_le_bytes());
        write(head.get(..usize::from(self.length)).unwrap_or(&head));
        write(self.tail);
    }
}

/// How many of the first bytes are the head: the tag and length of a key that is one text, all of a
/// short key, and nothing of any other.
#[inline]
fn head_of(bytes: &[u8]) -> usize {
    match bytes {
        [tag::TEXT | tag::BYTES, length @ 0..0x80, rest @ ..]
            if rest.len() == usize::from(*length) =>
        {
            2
        }
        [tag::TEXT | tag::BYTES, 0x80..=0xff, ..] => long_head_of(bytes).unwrap_or(0),
        [tag::V6, rest @ ..] if rest.len() == 16 => 1,
        _ if bytes.len() <= HEAD => bytes.len(),
        _ => 0,
    }
}

fn long_head_of(bytes: &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    for (place, byte) in bytes.iter().enumerate().skip(1).take(9) {
        let bits = 7 * u32::try_from(place - 1).ok()?;
        length |= usize::from(byte & 0x7f).checked_shl(bits)?;
        if *byte < 0x80 {
            let head = place + 1;
            return (bytes.len() - head == length).then_some(head);
        }
    }
    (bytes.len() <= HEAD).then_some(bytes.len())
}

impl PartialOrd for KeyRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(&other.as_bytes())
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.len())
    }
}
