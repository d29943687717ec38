//! [`Key`]: who is limited, as bytes that differ whenever the values do.
//!
//! Every value is written as a tag, a length where it can vary, and its bytes, so that one value
//! followed by another can be read in one way only: `("a", "bc")` and `("ab", "c")` differ, as do
//! `1` and `"1"`. The same number is the same key in every integer type, a `String` is the same
//! key as its `&str`, and a reference is the same key as what it refers to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

mod buffer;
mod reference;

pub use buffer::KeyBuf;
pub use reference::KeyRef;

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

    /// The key, borrowed from the value where it can be, else written to an empty buffer.
    ///
    /// What it gives is [`encode`](Self::encode)d alike: there is seldom a reason to write one's own.
    #[inline]
    fn key_ref<'a>(&'a self, scratch: &'a mut KeyBuf) -> KeyRef<'a> {
        self.encode(scratch);
        scratch.as_ref()
    }
}

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

impl Key for str {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        out.tagged(tag::TEXT, self.as_bytes());
    }

    #[inline]
    fn key_ref<'a>(&'a self, _: &'a mut KeyBuf) -> KeyRef<'a> {
        KeyRef::tagged(tag::TEXT, self.as_bytes())
    }
}

impl Key for String {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        self.as_str().encode(out);
    }

    #[inline]
    fn key_ref<'a>(&'a self, scratch: &'a mut KeyBuf) -> KeyRef<'a> {
        self.as_str().key_ref(scratch)
    }
}

impl Key for bool {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::BOOL, [u8::from(*self)]);
    }

    #[inline]
    fn key_ref<'a>(&'a self, _: &'a mut KeyBuf) -> KeyRef<'a> {
        KeyRef::fixed(tag::BOOL, [u8::from(*self)])
    }
}

impl Key for char {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::CHAR, u32::from(*self).to_be_bytes());
    }

    #[inline]
    fn key_ref<'a>(&'a self, _: &'a mut KeyBuf) -> KeyRef<'a> {
        KeyRef::fixed(tag::CHAR, u32::from(*self).to_be_bytes())
    }
}

macro_rules! unsigned {
    ($($type:ty)*) => {$(
        impl Key for $type {
        #[inline]
    fn encode(&self, out: &mut KeyBuf) {
                #[allow(clippy::cast_lossless)] // `usize` has no `From`
                out.number(tag::INTEGER, *self as u128);
            }

            #[inline]
            fn key_ref<'a>(&'a self, scratch: &'a mut KeyBuf) -> KeyRef<'a> {
                match u64::try_from(*self) {
                    Ok(number) => KeyRef::number(tag::INTEGER, number),
                    Err(_) => {
                        self.encode(scratch);
                        scratch.as_ref()
                    }
                }
            }
        }
    )*};
}

macro_rules! signed {
    ($($type:ty)*) => {$(
        impl Key for $type {
        #[inline]
    fn encode(&self, out: &mut KeyBuf) {
                let tag = if *self < 0 { tag::NEGATIVE } else { tag::INTEGER };
                #[allow(clippy::cast_lossless)] // `isize` has no `From`
                out.number(tag, self.unsigned_abs() as u128);
            }

            #[inline]
            fn key_ref<'a>(&'a self, scratch: &'a mut KeyBuf) -> KeyRef<'a> {
                let tag = if *self < 0 { tag::NEGATIVE } else { tag::INTEGER };
                match u64::try_from(self.unsigned_abs()) {
                    Ok(number) => KeyRef::number(tag, number),
                    Err(_) => {
                        self.encode(scratch);
                        scratch.as_ref()
                    }
                }
            }
        }
    )*};
}

unsigned!(u8 u16 u32 u64 u128 usize);
signed!(i8 i16 i32 i64 i128 isize);

macro_rules! nonzero {
    ($($name:ident)*) => {$(
        impl Key for core::num::$name {
        #[inline]
    fn encode(&self, out: &mut KeyBuf) {
                self.get().encode(out);
            }
        }
    )*};
}

nonzero!(NonZeroU8 NonZeroU16 NonZeroU32 NonZeroU64 NonZeroU128 NonZeroUsize);
nonzero!(NonZeroI8 NonZeroI16 NonZeroI32 NonZeroI64 NonZeroI128 NonZeroIsize);

impl Key for Ipv4Addr {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::V4, self.octets());
    }

    #[inline]
    fn key_ref<'a>(&'a self, _: &'a mut KeyBuf) -> KeyRef<'a> {
        KeyRef::fixed(tag::V4, self.octets())
    }
}

impl Key for Ipv6Addr {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        out.fixed(tag::V6, self.octets());
    }
}

impl Key for IpAddr {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        match self {
            Self::V4(address) => address.encode(out),
            Self::V6(address) => address.encode(out),
        }
    }

    #[inline]
    fn key_ref<'a>(&'a self, scratch: &'a mut KeyBuf) -> KeyRef<'a> {
        match self {
            Self::V4(address) => address.key_ref(scratch),
            Self::V6(address) => address.key_ref(scratch),
        }
    }
}

/// The address and the port. To limit a client, take the address alone: ports change with every
/// connection.
impl Key for SocketAddr {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        (self.ip(), self.port()).encode(out);
    }
}

/// Its nanoseconds.
impl Key for Duration {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        self.as_nanos().encode(out);
    }
}

impl<K: Key> Key for Option<K> {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        match self {
            None => out.push(tag::NONE),
            Some(key) => {
                out.push(tag::SOME);
                key.encode(out);
            }
        }
    }
}

impl<K: Key> Key for [K] {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        out.push(tag::LIST);
        out.length(self.len());
        for key in self {
            key.encode(out);
        }
    }
}

impl<K: Key> Key for Vec<K> {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        self.as_slice().encode(out);
    }
}

impl<K: Key, const N: usize> Key for [K; N] {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        self.as_slice().encode(out);
    }
}

impl Key for KeyRef<'_> {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        out.bytes(&self.as_bytes());
    }
}

impl Key for KeyBuf {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        self.as_ref().encode(out);
    }
}

macro_rules! pointers {
    ($($type:ty)*) => {$(
        impl<K: Key + ?Sized> Key for $type {
        #[inline]
    fn encode(&self, out: &mut KeyBuf) {
                (**self).encode(out);
            }

            #[inline]
            fn key_ref<'a>(&'a self, scratch: &'a mut KeyBuf) -> KeyRef<'a> {
                (**self).key_ref(scratch)
            }
        }
    )*};
}

pointers!(&K &mut K Box<K> Rc<K> Arc<K>);

impl<K: Key + ToOwned + ?Sized> Key for Cow<'_, K> {
    #[inline]
    fn encode(&self, out: &mut KeyBuf) {
        (**self).encode(out);
    }

    #[inline]
    fn key_ref<'a>(&'a self, scratch: &'a mut KeyBuf) -> KeyRef<'a> {
        (**self).key_ref(scratch)
    }
}

macro_rules! tuples {
    ($($count:literal: $($name:ident $index:tt)*;)*) => {$(
        impl<$($name: Key),*> Key for ($($name,)*) {
        #[inline]
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
