//! [`KeyBuf`]: the bytes of a key, and how values are written into them.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use super::{Key, KeyRef, tag};

/// How many bytes of a key need no allocation.
const INLINE: usize = 96;

/// The bytes of a key. Keys of up to 96 bytes are kept without an allocation.
#[derive(Clone)]
pub struct KeyBuf(Bytes);

#[derive(Clone)]
enum Bytes {
    Inline { length: u8, bytes: [u8; INLINE] },
    Heap(Vec<u8>),
}

impl KeyBuf {
    /// The key of a policy that has one bucket for all.
    #[inline]
    pub const fn new() -> Self {
        Self(Bytes::Inline {
            length: 0,
            bytes: [0; INLINE],
        })
    }

    /// The bytes of that value.
    #[inline]
    pub fn of<K: Key + ?Sized>(key: &K) -> Self {
        let mut bytes = Self::new();
        key.encode(&mut bytes);
        bytes
    }

    /// The key to give to a [`Check`](crate::Check).
    #[inline]
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef::from_bytes(self.as_bytes())
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Bytes::Heap(bytes) => bytes,
        }
    }

    /// Starts a value of so many fields; the fields follow, each encoded by itself.
    #[inline]
    pub fn fields(&mut self, count: usize) {
        self.push(tag::FIELDS);
        self.length(count);
    }

    /// Starts a value that is one of several variants; its fields follow, each encoded by itself.
    pub fn variant(&mut self, name: &str, fields: usize) {
        self.tagged(tag::VARIANT, name.as_bytes());
        self.length(fields);
    }

    /// Adds an amount of bytes that are no text.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.tagged(tag::BYTES, bytes);
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    #[inline]
    pub(super) fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        // Nearly every text of a key is this short: its tag and length are two bytes.
        if let Bytes::Inline { length, bytes: all } = &mut self.0 {
            let start = usize::from(*length);
            if let Some(place) = all.get_mut(start..start + 2 + bytes.len())
                && let [first, second, rest @ ..] = place
                && bytes.len() < 0x80
            {
                #[allow(clippy::cast_possible_truncation)] // compared just before
                let short = bytes.len() as u8;
                (*first, *second) = (tag, short);
                copy(rest, bytes);
                *length += short + 2;
                return;
            }
        }
        self.push(tag);
        self.length(bytes.len());
        self.extend(bytes);
    }

    #[inline]
    pub(super) fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        self.push(tag);
        self.extend(&bytes);
    }

    /// A length in groups of seven bits (LEB128), which says itself where it ends.
    #[inline]
    pub(super) fn length(&mut self, mut length: usize) {
        loop {
            let [low, ..] = length.to_le_bytes();
            length >>= 7;
            if length == 0 {
                self.push(low & 0x7f);
                return;
            }
            self.push(low | 0x80);
        }
    }

    /// A number in as few bytes as it needs, behind their count.
    #[inline]
    pub(super) fn number(&mut self, tag: u8, magnitude: u128) {
        let skipped = (magnitude.leading_zeros() / 8) as usize;
        match u64::try_from(magnitude) {
            // Nearly every number: half the bytes to look through.
            Ok(magnitude) => self.tagged(tag, &magnitude.to_be_bytes()[skipped - 8..]),
            Err(_) => self.tagged(tag, &magnitude.to_be_bytes()[skipped..]),
        }
    }

    #[inline]
    fn extend(&mut self, more: &[u8]) {
        if let Bytes::Inline { length, bytes } = &mut self.0
            && let Some(place) = bytes
                .get_mut(usize::from(*length)..)
                .and_then(|rest| rest.get_mut(..more.len()))
        {
            copy(place, more);
            // It fits, so that neither is over `INLINE`.
            *length += u8::try_from(more.len()).unwrap_or(0);
        } else {
            self.extend_heap(more);
        }
    }

    #[cfg(test)]
    pub(super) fn is_allocated(&self) -> bool {
        matches!(self.0, Bytes::Heap(_))
    }

    #[cold]
    fn extend_heap(&mut self, more: &[u8]) {
        if let Bytes::Heap(bytes) = &mut self.0 {
            bytes.extend_from_slice(more);
        } else {
            let so_far = self.as_bytes();
            let mut bytes = Vec::with_capacity(2 * INLINE + more.len());
            bytes.extend_from_slice(so_far);
            bytes.extend_from_slice(more);
            self.0 = Bytes::Heap(bytes);
        }
    }
}

/// Copies a slice to one of the same length, the usual lengths without a call.
#[inline]
fn copy(to: &mut [u8], from: &[u8]) {
    if from.len() <= 16
        && let (Some(first), Some(last)) = (from.first_chunk::<8>(), from.last_chunk::<8>())
    {
        // The two may overlap.
        if let Some(place) = to.first_chunk_mut::<8>() {
            *place = *first;
        }
        if let Some(place) = to.last_chunk_mut::<8>() {
            *place = *last;
        }
    } else {
        to.copy_from_slice(from);
    }
}

impl Default for KeyBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for KeyBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for KeyBuf {}

impl PartialOrd for KeyBuf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyBuf {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for KeyBuf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl From<KeyRef<'_>> for KeyBuf {
    fn from(key: KeyRef<'_>) -> Self {
        let mut bytes = Self::new();
        key.write_to(|part| bytes.extend(part));
        bytes
    }
}
