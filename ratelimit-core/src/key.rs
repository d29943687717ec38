//! [`Key`]: who is limited, as bytes that differ whenever the values do.
//!
//! Every value is written as a tag, a length where it can vary, and its bytes, so that one value
//! followed by another can be read in one way only: `("a", "bc")` and `("ab", "c")` differ, as do
//! `1` and `"1"`. The same number is the same key in every integer type, a `String` is the same
//! key as its `&str`, and a reference is the same key as what it refers to.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

/// How many bytes of a key need no allocation.
const INLINE: usize = 96;

/// A value that can say who is limited.
///
/// Implemented for integers, `bool`, `char`, strings, addresses, `Option`, tuples, arrays and
/// slices, smart pointers and references; `#[derive(Key)]` adds a user's type.
///
/// Two values must encode equally exactly when they are to share a budget.
///
/// ```
/// use ratelimit_core::KeyBuf;
///
/// assert_ne!(KeyBuf::of(&("a", "bc")), KeyBuf::of(&("ab", "c")));
/// assert_ne!(KeyBuf::of(&1), KeyBuf::of("1"));
/// assert_eq!(KeyBuf::of(&1_u8), KeyBuf::of(&1_i64));
/// assert_eq!(KeyBuf::of("alice"), KeyBuf::of(&String::from("alice")));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a rate limit key",
    label = "this is not a key",
    note = "keys are integers, strings, addresses, `bool`, `char`, and tuples, options and slices of keys",
    note = "for a type of your own, add `#[derive(ratelimit::Key)]`, or use one of its fields"
)]
pub trait Key {
    /// Writes the value.
    fn encode(&self, out: &mut KeyBuf);
}

/// The bytes of a key. Keys of up to 96 bytes are kept without an allocation.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyBuf(SmallVec<[u8; INLINE]>);

/// The tags. They are part of what shared stores keep: they may be added to, never changed.
mod tag {
    pub(super) const INTEGER: u8 = b'i';
    pub(super) const NEGATIVE: u8 = b'n';
    pub(super) const TEXT: u8 = b't';
    pub(super) const BYTES: u8 = b'b';
    pub(super) const BOOL: u8 = b'?';
    pub(super) const CHAR: u8 = b'c';
    pub(super) const V4: u8 = b'4';
    pub(super) const V6: u8 = b'6';
    pub(super) const NONE: u8 = b'-';
    pub(super) const SOME: u8 = b'+';
    pub(super) const FIELDS: u8 = b'(';
    pub(super) const VARIANT: u8 = b'|';
    pub(super) const LIST: u8 = b'[';
}

impl KeyBuf {
    /// The key of a policy that has one bucket for all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes of that value.
    pub fn of<K: Key + ?Sized>(key: &K) -> Self {
        let mut bytes = Self::new();
        key.encode(&mut bytes);
        bytes
    }

    /// The key to give to a [`Check`](crate::Check).
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef(&self.0)
    }

    /// Starts a value of so many fields; the fields follow, each encoded by itself.
    pub fn fields(&mut self, count: usize) {
        self.0.push(tag::FIELDS);
        self.length(count);
    }

    /// Starts a value that is one of several variants; its fields follow, each encoded by itself.
    pub fn variant(&mut self, name: &str, fields: usize) {
        self.0.push(tag::VARIANT);
        self.length(name.len());
        self.0.extend_from_slice(name.as_bytes());
        self.length(fields);
    }

    /// Adds an amount of bytes that are no text.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.tagged(tag::BYTES, bytes);
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn fixed(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
    }

    /// A length in groups of seven bits (LEB128), which says itself where it ends.
    fn length(&mut self, mut length: usize) {
        loop {
            let [low, ..] = length.to_le_bytes();
            length >>= 7;
            if length == 0 {
                self.0.push(low & 0x7f);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    /// A number in as few bytes as it needs, behind their count.
    fn number(&mut self, tag: u8, magnitude: u128) {
        let bytes = magnitude.to_be_bytes();
        let skipped = (magnitude.leading_zeros() / 8) as usize;
        self.tagged(tag, &bytes[skipped..]);
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl From<KeyRef<'_>> for KeyBuf {
    fn from(key: KeyRef<'_>) -> Self {
        Self(SmallVec::from_slice(key.0))
    }
}

/// Borrowed bytes of a key.
///
/// Its `Debug` form shows the length alone: keys carry what clients send, and secrets among it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef<'a>(&'a [u8]);

impl<'a> KeyRef<'a> {
    /// Bytes that are a key already, from [`as_bytes`](Self::as_bytes).
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

impl Key for str {
    fn encode(&self, out: &mut KeyBuf) {
        out.tagged(tag::TEXT, self.as_bytes());
    }
}

impl Key for String {
    fn encode(&self, out: &mut KeyBuf) {
        self.as_str().encode(out);
    }
}

impl Key for bool {
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::BOOL, &[u8::from(*self)]);
    }
}

impl Key for char {
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::CHAR, &u32::from(*self).to_be_bytes());
    }
}

macro_rules! unsigned {
    ($($type:ty)*) => {$(
        impl Key for $type {
            fn encode(&self, out: &mut KeyBuf) {
                #[allow(clippy::cast_lossless)] // `usize` has no `From`
                out.number(tag::INTEGER, *self as u128);
            }
        }
    )*};
}

macro_rules! signed {
    ($($type:ty)*) => {$(
        impl Key for $type {
            fn encode(&self, out: &mut KeyBuf) {
                let tag = if *self < 0 { tag::NEGATIVE } else { tag::INTEGER };
                #[allow(clippy::cast_lossless)] // `isize` has no `From`
                out.number(tag, self.unsigned_abs() as u128);
            }
        }
    )*};
}

unsigned!(u8 u16 u32 u64 u128 usize);
signed!(i8 i16 i32 i64 i128 isize);

macro_rules! nonzero {
    ($($name:ident)*) => {$(
        impl Key for core::num::$name {
            fn encode(&self, out: &mut KeyBuf) {
                self.get().encode(out);
            }
        }
    )*};
}

nonzero!(NonZeroU8 NonZeroU16 NonZeroU32 NonZeroU64 NonZeroU128 NonZeroUsize);
nonzero!(NonZeroI8 NonZeroI16 NonZeroI32 NonZeroI64 NonZeroI128 NonZeroIsize);

impl Key for Ipv4Addr {
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::V4, &self.octets());
    }
}

impl Key for Ipv6Addr {
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::V6, &self.octets());
    }
}

impl Key for IpAddr {
    fn encode(&self, out: &mut KeyBuf) {
        match self {
            Self::V4(address) => address.encode(out),
            Self::V6(address) => address.encode(out),
        }
    }
}

/// The address and the port. To limit a client, take the address alone: ports change with every
/// connection.
impl Key for SocketAddr {
    fn encode(&self, out: &mut KeyBuf) {
        (self.ip(), self.port()).encode(out);
    }
}

/// Its nanoseconds.
impl Key for Duration {
    fn encode(&self, out: &mut KeyBuf) {
        self.as_nanos().encode(out);
    }
}

impl<K: Key> Key for Option<K> {
    fn encode(&self, out: &mut KeyBuf) {
        match self {
            None => out.0.push(tag::NONE),
            Some(key) => {
                out.0.push(tag::SOME);
                key.encode(out);
            }
        }
    }
}

impl<K: Key> Key for [K] {
    fn encode(&self, out: &mut KeyBuf) {
        out.0.push(tag::LIST);
        out.length(self.len());
        for key in self {
            key.encode(out);
        }
    }
}

impl<K: Key> Key for Vec<K> {
    fn encode(&self, out: &mut KeyBuf) {
        self.as_slice().encode(out);
    }
}

impl<K: Key, const N: usize> Key for [K; N] {
    fn encode(&self, out: &mut KeyBuf) {
        self.as_slice().encode(out);
    }
}

impl Key for KeyRef<'_> {
    fn encode(&self, out: &mut KeyBuf) {
        out.bytes(self.0);
    }
}

impl Key for KeyBuf {
    fn encode(&self, out: &mut KeyBuf) {
        self.as_ref().encode(out);
    }
}

macro_rules! pointers {
    ($($type:ty)*) => {$(
        impl<K: Key + ?Sized> Key for $type {
            fn encode(&self, out: &mut KeyBuf) {
                (**self).encode(out);
            }
        }
    )*};
}

pointers!(&K &mut K Box<K> Rc<K> Arc<K>);

impl<K: Key + ToOwned + ?Sized> Key for Cow<'_, K> {
    fn encode(&self, out: &mut KeyBuf) {
        (**self).encode(out);
    }
}

macro_rules! tuples {
    ($($count:literal: $($name:ident $index:tt)*;)*) => {$(
        impl<$($name: Key),*> Key for ($($name,)*) {
            fn encode(&self, out: &mut KeyBuf) {
                out.fields($count);
                $(self.$index.encode(out);)*
            }
        }
    )*};
}

tuples! {
    1: A 0;
    2: A 0 B 1;
    3: A 0 B 1 C 2;
    4: A 0 B 1 C 2 D 3;
    5: A 0 B 1 C 2 D 3 E 4;
    6: A 0 B 1 C 2 D 3 E 4 F 5;
    7: A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
}

#[cfg(test)]
mod tests;
