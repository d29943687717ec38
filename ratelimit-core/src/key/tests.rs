//! Equal bytes for equal values, and for no others.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::{NonZeroI16, NonZeroU8};
use core::time::Duration;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Key, KeyBuf, KeyRef};
use crate::cases::cases;

fn of<K: Key + ?Sized>(key: &K) -> KeyBuf {
    KeyBuf::of(key)
}

/// A value of any shape, so that values of different types meet.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Integer(i128),
    Large(u128),
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Char(char),
    Ip(IpAddr),
    Option(Option<Box<Value>>),
    List(Vec<Value>),
    One(Box<(Value,)>),
    Two(Box<(Value, Value)>),
    Three(Box<(Value, Value, Value)>),
    Variant(String, Vec<Value>),
}

impl Key for Value {
    fn encode(&self, out: &mut KeyBuf) {
        match self {
            Self::Integer(value) => value.encode(out),
            Self::Large(value) => value.encode(out),
            Self::Text(value) => value.encode(out),
            Self::Bytes(value) => out.bytes(value),
            Self::Bool(value) => value.encode(out),
            Self::Char(value) => value.encode(out),
            Self::Ip(value) => value.encode(out),
            Self::Option(value) => value.encode(out),
            Self::List(values) => values.encode(out),
            Self::One(values) => values.encode(out),
            Self::Two(values) => values.encode(out),
            Self::Three(values) => values.encode(out),
            Self::Variant(name, values) => {
                out.variant(name, values.len());
                for value in values {
                    value.encode(out);
                }
            }
        }
    }
}

/// Values from so small a world that equal ones, and ones that nearly are, turn up often. No value
/// can be written in two ways: large integers are those that no `i128` holds.
fn value() -> impl Strategy<Value = Value> {
    let text = "[ab(\\[it\\x00\\x01\\x02]{0,3}";
    let bytes = prop::collection::vec(prop::sample::select(&b"ab(it\x00\x01\x02"[..]), 0..4);
    let leaf = prop_oneof![
        (-3..3_i128).prop_map(Value::Integer),
        prop::sample::select(vec![i128::MIN, -256, -255, 255, 256, 65_535, i128::MAX])
            .prop_map(Value::Integer),
        (i128::MAX as u128 + 1..).prop_map(Value::Large),
        text.prop_map(Value::Text),
        bytes.prop_map(Value::Bytes),
        any::<bool>().prop_map(Value::Bool),
        prop::sample::select(vec!['a', 'b', '1', '\0', '日']).prop_map(Value::Char),
        (0..3_u32).prop_map(|bits| Value::Ip(Ipv4Addr::from_bits(bits).into())),
        (0..3_u128).prop_map(|bits| Value::Ip(Ipv6Addr::from_bits(bits).into())),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let several = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            prop::option::of(boxed).prop_map(Value::Option),
            several.clone().prop_map(Value::List),
            inner.clone().prop_map(|a| Value::One(Box::new((a,)))),
            (inner.clone(), inner.clone()).prop_map(|pair| Value::Two(Box::new(pair))),
            (inner.clone(), inner.clone(), inner).prop_map(|all| Value::Three(Box::new(all))),
            (text, several).prop_map(|(name, values)| Value::Variant(name, values)),
        ]
    })
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn encodings_are_equal_only_for_equal_values(
        values in prop::collection::vec(value(), 2..40),
    ) {
        let bytes: Vec<_> = values.iter().map(of).collect();
        for (one, its) in values.iter().zip(&bytes) {
            for (other, others) in values.iter().zip(&bytes) {
                prop_assert_eq!(one == other, its == others, "{:?} {:?}", one, other);
            }
        }
    }

    #[test]
    fn no_encoding_is_the_start_of_another(
        values in prop::collection::vec(value(), 2..40),
    ) {
        // So values that follow each other can be read in one way only.
        let bytes: Vec<_> = values.iter().map(of).collect();
        for (one, its) in values.iter().zip(&bytes) {
            for (other, others) in values.iter().zip(&bytes) {
                let starts = others.as_bytes().starts_with(its.as_bytes());
                prop_assert_eq!(one == other, starts, "{:?} {:?}", one, other);
            }
        }
    }

    #[test]
    fn a_number_is_one_key_in_every_type_that_holds_it(number in any::<i128>(), small in any::<i8>()) {
        let key = of(&number);
        let mut same = vec![of(&i128::from(small)), of(&i64::from(small)), of(&i32::from(small))];
        same.extend([of(&i16::from(small)), of(&small), of(&isize::from(small))]);
        if let Ok(unsigned) = u8::try_from(small) {
            same.extend([of(&unsigned), of(&u16::from(unsigned)), of(&u32::from(unsigned))]);
            same.extend([of(&u64::from(unsigned)), of(&usize::from(unsigned))]);
            same.push(of(&u128::from(unsigned)));
            prop_assert_eq!(NonZeroU8::new(unsigned).is_none_or(|one| of(&one) == same[0]), true);
        }
        prop_assert!(same.iter().all(|key| *key == same[0]));
        let nonzero = NonZeroI16::new(small.into());
        prop_assert!(nonzero.is_none_or(|one| of(&one) == same[0]));
        prop_assert_eq!(key == same[0], number == i128::from(small));
        prop_assert_eq!(u128::try_from(number).is_ok_and(|unsigned| of(&unsigned) == key), number >= 0);
    }
}

#[test]
fn neighbours_do_not_run_into_each_other() {
    let different = [
        of(&("a", "bc")),
        of(&("ab", "c")),
        of(&("abc", "")),
        of(&("", "abc")),
        of(&("abc",)),
        of("abc"),
        of(&["a", "bc"][..]),
        of(&["a", "b", "c"][..]),
        of(&(("a", "b"), "c")),
        of(&("a", ("b", "c"))),
        of(&("a", "b", "c")),
        of(&"t\x03abc"),
        KeyBuf::new(),
        of(&KeyBuf::new()),
        of(&of("abc")),
    ];
    assert_all_differ(&different);
}

#[test]
fn values_of_different_kinds_differ() {
    let different = [
        of(&0),
        of(&1),
        of(&-1),
        of(&i128::MIN),
        of(&u128::MAX),
        of("1"),
        of(""),
        of(&'1'),
        of(&true),
        of(&false),
        of(&None::<u8>),
        of(&Some(1)),
        of(&Some(None::<u8>)),
        of(&Some(Some(1))),
        of(&[1][..]),
        of(&(1,)),
        of::<[u8]>(&[]),
        of(&Ipv4Addr::new(0, 0, 0, 1)),
        of(&Ipv6Addr::from_bits(1)),
        of(&Ipv4Addr::new(0, 0, 0, 1).to_ipv6_mapped()),
        of(&SocketAddr::from(([0, 0, 0, 1], 1))),
        of(&SocketAddr::from(([0, 0, 0, 1], 2))),
    ];
    assert_all_differ(&different);
}

fn assert_all_differ(keys: &[KeyBuf]) {
    for (index, key) in keys.iter().enumerate() {
        for (other, same) in keys.iter().enumerate().skip(index + 1) {
            assert_ne!(key, same, "{index} and {other}");
        }
    }
}

#[test]
fn what_is_documented_to_be_one_key_is() {
    let alice = of("alice");
    let text = String::from("alice");
    assert_eq!(of(&text), alice);
    assert_eq!(of(&&&text), alice);
    assert_eq!(of(&Box::<str>::from("alice")), alice);
    assert_eq!(of(&Rc::<str>::from("alice")), alice);
    assert_eq!(of(&Arc::new(text.clone())), alice);
    assert_eq!(of(&Cow::Borrowed("alice")), alice);
    assert_eq!(of(&Cow::<str>::Owned(text)), alice);

    let list = of(&[1_u8, 2][..]);
    assert_eq!(of(&vec![1_i64, 2]), list);
    assert_eq!(of(&[1_u32, 2]), list);

    let address = Ipv4Addr::LOCALHOST;
    assert_eq!(of(&address), of(&IpAddr::from(address)));
    let port = SocketAddr::new(address.into(), 80);
    assert_eq!(of(&port), of(&(address, 80)), "the address and the port");
    assert_eq!(of(&Duration::from_nanos(7)), of(&7), "its nanoseconds");
    let key = of(&1);
    assert_eq!(of(&key), of(&key.as_ref()));
    assert_eq!(KeyBuf::from(key.as_ref()), key);
}

#[test]
fn the_bytes_are_what_shared_stores_hold() {
    // Changing these makes every key of every store a new one.
    let bytes = |key: &dyn Key| of(key).as_bytes().to_vec();
    assert_eq!(bytes(&0), b"i\x00");
    assert_eq!(bytes(&258_u64), b"i\x02\x01\x02");
    assert_eq!(bytes(&-1), b"n\x01\x01");
    assert_eq!(bytes(&"é"), b"t\x02\xc3\xa9");
    assert_eq!(bytes(&true), b"?\x01");
    assert_eq!(bytes(&'a'), b"c\x00\x00\x00a");
    assert_eq!(bytes(&Ipv4Addr::LOCALHOST), b"4\x7f\x00\x00\x01");
    assert_eq!(
        bytes(&Ipv6Addr::LOCALHOST),
        b"6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
    );
    assert_eq!(bytes(&None::<u8>), b"-");
    assert_eq!(bytes(&Some("a")), b"+t\x01a");
    assert_eq!(bytes(&("a", 1)), b"(\x02t\x01ai\x01\x01");
    assert_eq!(bytes(&["a", ""]), b"[\x02t\x01at\x00");
    assert_eq!(bytes(&KeyRef::from_bytes(b"xy")), b"b\x02xy");
    // A length of more than seven bits goes on in the next byte.
    assert!(bytes(&"x".repeat(127)).starts_with(b"t\x7fx"));
    assert!(bytes(&"x".repeat(128)).starts_with(b"t\x80\x01x"));
    assert!(bytes(&"x".repeat(65_536)).starts_with(b"t\x80\x80\x04x"));
    let mut variant = KeyBuf::new();
    variant.variant("Free", 1);
    1.encode(&mut variant);
    assert_eq!(variant.as_bytes(), b"|\x04Free\x01i\x01\x01");
}

#[test]
fn long_keys_are_kept_whole() {
    for length in [94, 95, 96, 127, 128, 16_383, 16_384, 65_536] {
        let (long, other) = ("a".repeat(length), "a".repeat(length - 1) + "b");
        assert_ne!(of(&long), of(&other));
        assert_ne!(of(&long), of(&long[1..]));
        let bytes = of(&long);
        let bytes = bytes.as_bytes();
        assert!(bytes.ends_with(long.as_bytes()));
        assert!(bytes.len() <= length + 4);
        assert_ne!(of(&(&long, "b")), of(&(&other, "")));
    }
}

#[test]
fn common_keys_need_no_allocation() {
    let address = IpAddr::from(Ipv6Addr::LOCALHOST);
    let identifier = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
    let inline = [
        of(&u64::MAX),
        of(&i128::MIN),
        of(&address),
        of(&SocketAddr::new(address, 443)),
        of(identifier),
        of(&(u64::MAX, address)),
        of(&(identifier, identifier)),
        of(&Some(("tenant", u32::MAX, 'x', true))),
        of(&"a".repeat(94)),
    ];
    for key in inline {
        assert!(!key.is_allocated(), "{} bytes", key.as_bytes().len());
    }
    assert!(of(&"a".repeat(95)).is_allocated());
}

#[test]
fn keys_are_not_shown() {
    let secret = of("hunter2");
    assert_eq!(
        format!("{secret:?} {:?}", secret.as_ref()),
        "Key(9 bytes) Key(9 bytes)"
    );
}

#[test]
fn parts_of_a_key_make_it_again_and_no_others_break_one() {
    for key in [
        of(&7_u64),
        of("alice"),
        of(""),
        of(&u64::MAX),
        KeyBuf::new(),
    ] {
        let (head, length, tail) = key.as_ref().parts();
        assert_eq!(KeyRef::from_parts(head, length, tail), key.as_ref());
    }
    for length in [0, 1, 8, 14, 15, 16, 17, 200, 255] {
        let key = KeyRef::from_parts([u64::MAX; 2], length, b"tail");
        assert_eq!(key.as_bytes().len(), key.len(), "{length}");
        let zeros = KeyRef::from_parts([0; 2], length, b"tail");
        assert_eq!(
            zeros == key,
            length == 0,
            "what is behind the head is no part of it"
        );
    }
}
