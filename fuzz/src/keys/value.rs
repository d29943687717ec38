//! Keys as users write them: one value in each of the types that can say it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num;
use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use arbitrary::{Error, Result, Unstructured};
use ratelimit::{Key, KeyBuf, KeyRef};

use super::normal::Normal;
use crate::text::{long_bytes, long_text, text};

/// How deep the made values are at most.
const DEEPEST: usize = 5;

/// A key as it is made of the fuzzer's input.
pub(super) fn normal(input: &mut Unstructured<'_>, depth: usize) -> Result<Normal> {
    let kinds = if depth < DEEPEST { 14 } else { 9 };
    Ok(match input.int_in_range(0..=kinds)? {
        0 => integer(input.arbitrary::<i8>()?.into()),
        1 => integer(input.arbitrary::<i128>()? >> input.int_in_range(0..=127)?),
        2 => Normal::Integer {
            negative: false,
            magnitude: input.arbitrary()?,
        },
        3 => Normal::Text(long_text(input, 24)?),
        4 => Normal::Bytes(long_bytes(input, 24)?),
        5 => Normal::Bool(input.arbitrary()?),
        6 => Normal::Char(input.arbitrary()?),
        7 => Normal::V4(input.arbitrary()?),
        8 => Normal::V6(input.arbitrary()?),
        9 => Normal::None,
        10 => Normal::Some(Box::new(normal(input, depth + 1)?)),
        11 => Normal::Fields(several(input, depth, 8)?),
        12 => {
            let name = match input.int_in_range(0..=4)? {
                0 => "Nobody".to_owned(),
                1 => "User".to_owned(),
                2 => "Machine".to_owned(),
                3 => "match".to_owned(),
                _ => text(input, 12)?,
            };
            Normal::Variant(name, several(input, depth, 3)?)
        }
        _ => Normal::List(several(input, depth, 12)?),
    })
}

fn integer(value: i128) -> Normal {
    Normal::Integer {
        negative: value < 0,
        magnitude: value.unsigned_abs(),
    }
}

fn several(input: &mut Unstructured<'_>, depth: usize, most: usize) -> Result<Vec<Normal>> {
    let count = input.int_in_range(0..=most)?;
    (0..count).map(|_| normal(input, depth + 1)).collect()
}

/// Something that can be a key, whatever its type.
type Dynamic = Box<dyn Key>;

/// An enum as users write it.
#[derive(ratelimit::Key)]
enum Caller {
    Nobody,
    User(Dynamic),
    Machine {
        rack: Dynamic,
        slot: Dynamic,
    },
    #[allow(non_camel_case_types)] // a keyword, whose name is without the `r#`
    r#match(Dynamic, Dynamic, Dynamic),
}

/// Structs as users write them, with parameters and without.
#[derive(ratelimit::Key)]
struct Everyone;

#[derive(ratelimit::Key)]
struct Wrapped<K>(K);

#[derive(ratelimit::Key)]
struct Tenant<'a, A: ?Sized, B> {
    region: &'a A,
    r#type: B,
}

/// A user's own, which says what it is made of.
struct Written {
    variant: Option<String>,
    fields: Vec<Dynamic>,
}

impl Key for Written {
    fn encode(&self, out: &mut KeyBuf) {
        match &self.variant {
            Some(name) => out.variant(name, self.fields.len()),
            None => out.fields(self.fields.len()),
        }
        self.fields.iter().for_each(|field| field.encode(out));
    }
}

/// The same key in one of the types that can say it; which one is the input's choice.
pub(super) fn spelled(key: &Normal, input: &mut Unstructured<'_>) -> Result<Dynamic> {
    let spelling: u8 = input.arbitrary()?;
    let plain: Dynamic = match key {
        Normal::Integer {
            negative,
            magnitude,
        } => spelled_integer(*negative, *magnitude, spelling),
        Normal::Text(text) => spelled_text(text.clone(), spelling),
        Normal::Bytes(bytes) => match spelling % 3 {
            0 => Box::new(KeyBuf::from(KeyRef::from_bytes(bytes))),
            1 => Box::new(Raw(bytes.clone())),
            _ => Box::new(Arc::new(KeyBuf::from(KeyRef::from_bytes(bytes)))),
        },
        Normal::Bool(truth) => Box::new(*truth),
        Normal::Char(character) => Box::new(*character),
        Normal::V4(octets) => match spelling % 2 {
            0 => Box::new(Ipv4Addr::from(*octets)),
            _ => Box::new(IpAddr::from(*octets)),
        },
        Normal::V6(octets) => match spelling % 2 {
            0 => Box::new(Ipv6Addr::from(*octets)),
            _ => Box::new(IpAddr::from(*octets)),
        },
        Normal::None => match spelling % 2 {
            0 => Box::new(None::<u8>),
            _ => Box::new(None::<Vec<String>>),
        },
        Normal::Some(inner) => Box::new(Some(spelled(inner, input)?)),
        Normal::Fields(fields) => match address(fields).filter(|_| spelling % 2 == 0) {
            Some(address) => Box::new(address),
            None => spelled_fields(all(fields, input)?, spelling)?,
        },
        Normal::Variant(name, fields) => spelled_variant(name, all(fields, input)?, spelling),
        Normal::List(keys) => spelled_list(all(keys, input)?, spelling),
    };
    Ok(match spelling / 64 {
        0 => plain,
        1 => Box::new(Rc::<dyn Key>::from(plain)),
        2 => Box::new(Arc::<dyn Key>::from(plain)),
        _ => Box::new(Referred(plain)),
    })
}

fn all(keys: &[Normal], input: &mut Unstructured<'_>) -> Result<Vec<Dynamic>> {
    keys.iter().map(|key| spelled(key, input)).collect()
}

/// Encodes through references.
struct Referred(Dynamic);

impl Key for Referred {
    fn encode(&self, out: &mut KeyBuf) {
        (&&self.0).encode(out);
    }
}

struct Raw(Vec<u8>);

impl Key for Raw {
    fn encode(&self, out: &mut KeyBuf) {
        out.bytes(&self.0);
    }
}

/// The integer in each type that it fits, with those that are never zero and times among them.
fn spelled_integer(negative: bool, magnitude: u128, spelling: u8) -> Dynamic {
    let mut spellings = Vec::<Dynamic>::new();
    macro_rules! fits {
        ($value:expr => $($type:ty, $nonzero:ty;)*) => {$(
            #[allow(irrefutable_let_patterns)] // for the type that it is in already
            if let Ok(value) = <$type>::try_from($value) {
                spellings.push(Box::new(value));
                if let Some(value) = <$nonzero>::new(value) {
                    spellings.push(Box::new(value));
                }
            }
        )*};
    }
    if !negative {
        fits! { magnitude =>
            u8, num::NonZeroU8; u16, num::NonZeroU16; u32, num::NonZeroU32;
            u64, num::NonZeroU64; u128, num::NonZeroU128; usize, num::NonZeroUsize;
        }
        if magnitude <= Duration::MAX.as_nanos() {
            spellings.push(Box::new(Duration::from_nanos_u128(magnitude)));
        }
    }
    let signed = if negative {
        Some(0_i128.wrapping_sub_unsigned(magnitude))
    } else {
        i128::try_from(magnitude).ok()
    };
    if let Some(signed) = signed {
        fits! { signed =>
            i8, num::NonZeroI8; i16, num::NonZeroI16; i32, num::NonZeroI32;
            i64, num::NonZeroI64; i128, num::NonZeroI128; isize, num::NonZeroIsize;
        }
    }
    let chosen = usize::from(spelling % 64) % spellings.len();
    spellings.swap_remove(chosen)
}

fn spelled_text(text: String, spelling: u8) -> Dynamic {
    match spelling % 6 {
        0 => Box::new(text),
        1 => Box::new(Box::<str>::from(text)),
        2 => Box::new(Rc::<str>::from(text)),
        3 => Box::new(Arc::<str>::from(text)),
        4 => Box::new(Cow::<'static, str>::Owned(text)),
        _ => Box::new(Borrowed(text)),
    }
}

/// Encodes as `&str`.
struct Borrowed(String);

impl Key for Borrowed {
    fn encode(&self, out: &mut KeyBuf) {
        self.0.as_str().encode(out);
    }
}

/// The address and port that these fields are, where they are.
fn address(fields: &[Normal]) -> Option<SocketAddr> {
    let [
        address,
        Normal::Integer {
            negative: false,
            magnitude,
        },
    ] = fields
    else {
        return None;
    };
    let address = match address {
        Normal::V4(octets) => IpAddr::from(*octets),
        Normal::V6(octets) => IpAddr::from(*octets),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::try_from(*magnitude).ok()?))
}

fn spelled_fields(fields: Vec<Dynamic>, spelling: u8) -> Result<Dynamic> {
    if spelling % 4 == 0 {
        return Ok(Box::new(Written {
            variant: None,
            fields,
        }));
    }
    let derived = spelling % 4 == 1;
    let mut fields = fields.into_iter();
    let count = fields.len();
    let mut next = || fields.next().ok_or(Error::IncorrectFormat);
    Ok(match count {
        0 => Box::new(Everyone),
        1 if derived => Box::new(Wrapped(next()?)),
        1 => Box::new((next()?,)),
        2 if derived => Box::new(Both(next()?, next()?)),
        2 => Box::new((next()?, next()?)),
        3 => Box::new((next()?, next()?, next()?)),
        4 => Box::new((next()?, next()?, next()?, next()?)),
        5 => Box::new((next()?, next()?, next()?, next()?, next()?)),
        6 => Box::new((next()?, next()?, next()?, next()?, next()?, next()?)),
        7 => Box::new((
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
        )),
        8 => Box::new((
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
        )),
        _ => return Err(Error::IncorrectFormat),
    })
}

/// Encodes as a derived struct that borrows.
struct Both(Dynamic, Dynamic);

impl Key for Both {
    fn encode(&self, out: &mut KeyBuf) {
        let tenant = Tenant {
            region: &*self.0,
            r#type: &self.1,
        };
        tenant.encode(out);
    }
}

fn spelled_variant(name: &str, fields: Vec<Dynamic>, spelling: u8) -> Dynamic {
    let written = |fields| {
        let variant = Some(name.to_owned());
        Box::new(Written { variant, fields })
    };
    if spelling % 4 == 0 {
        return written(fields);
    }
    match (name, fields.len()) {
        ("Nobody", 0) => Box::new(Caller::Nobody),
        ("User", 1) => {
            let [user] = array(fields);
            Box::new(Caller::User(user))
        }
        ("Machine", 2) => {
            let [rack, slot] = array(fields);
            Box::new(Caller::Machine { rack, slot })
        }
        ("match", 3) => {
            let [a, b, c] = array(fields);
            Box::new(Caller::r#match(a, b, c))
        }
        _ => written(fields),
    }
}

fn spelled_list(keys: Vec<Dynamic>, spelling: u8) -> Dynamic {
    match (spelling % 3, keys.len()) {
        (0, 0) => Box::new([] as [u8; 0]),
        (0, 1) => Box::new(array::<1>(keys)),
        (0, 2) => Box::new(array::<2>(keys)),
        (0, 7) => Box::new(array::<7>(keys)),
        (1, _) => Box::new(keys.into_boxed_slice()),
        _ => Box::new(keys),
    }
}

fn array<const N: usize>(keys: Vec<Dynamic>) -> [Dynamic; N] {
    keys.try_into().ok().expect("the caller has counted them")
}
