//! Keys differ whenever the values do.

use core::net::{IpAddr, SocketAddr};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Key, KeyBuf};

/// Values of every shape, nested.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Number(i128),
    Text(String),
    Bool(bool),
    Char(char),
    Address(IpAddr),
    Option(Option<Box<Value>>),
    List(Vec<Value>),
    Pair(Box<(Value, Value)>),
    Variant(String, Vec<Value>),
}

impl Key for Value {
    fn encode(&self, out: &mut KeyBuf) {
        match self {
            Self::Number(number) => number.encode(out),
            Self::Text(text) => text.encode(out),
            Self::Bool(value) => value.encode(out),
            Self::Char(value) => value.encode(out),
            Self::Address(address) => address.encode(out),
            Self::Option(value) => value.encode(out),
            Self::List(values) => values.encode(out),
            Self::Pair(pair) => pair.encode(out),
            Self::Variant(name, fields) => {
                out.variant(name, fields.len());
                for field in fields {
                    field.encode(out);
                }
            }
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    // Few letters, and those that are tags, so that near misses are frequent.
    let text = "[ab|(\\[it\u{0}é]{0,4}";
    let leaf = prop_oneof![
        (-3_i128..300).prop_map(Value::Number),
        any::<i128>().prop_map(Value::Number),
        text.prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        prop::sample::select(vec!['a', 'i', '\u{0}', 'é']).prop_map(Value::Char),
        any::<IpAddr>().prop_map(Value::Address),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::option::of(inner.clone().prop_map(Box::new)).prop_map(Value::Option),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            (inner.clone(), inner.clone()).prop_map(|pair| Value::Pair(Box::new(pair))),
            (text, prop::collection::vec(inner, 0..3)).prop_map(|(n, f)| Value::Variant(n, f)),
        ]
    })
}

proptest! {
    #[test]
    fn different_values_are_different_keys(values in prop::collection::vec(value(), 2..60)) {
        let mut seen = HashMap::new();
        for value in values {
            let key = KeyBuf::of(&value);
            let first = seen.entry(key).or_insert_with(|| value.clone());
            prop_assert_eq!(&*first, &value);
        }
    }

    #[test]
    fn no_key_is_the_start_of_another(one in value(), other in value()) {
        let (one, other) = (KeyBuf::of(&one), KeyBuf::of(&other));
        let (one, other) = (one.as_ref().as_bytes(), other.as_ref().as_bytes());
        prop_assert!(one == other || !other.starts_with(one));
    }
}

#[test]
fn what_is_the_same_is_the_same_key() {
    let same = |one: &dyn Fn() -> KeyBuf, other: &dyn Fn() -> KeyBuf| assert_eq!(one(), other());
    same(&|| KeyBuf::of(&7_u8), &|| KeyBuf::of(&7_i128));
    same(&|| KeyBuf::of(&u128::MAX), &|| KeyBuf::of(&u128::MAX));
    same(&|| KeyBuf::of(&-7_i8), &|| KeyBuf::of(&-7_i64));
    same(&|| KeyBuf::of("a"), &|| {
        KeyBuf::of(&Arc::new(Cow::Borrowed("a")))
    });
    same(&|| KeyBuf::of("a"), &|| {
        KeyBuf::of(&Box::new(String::from("a")))
    });
    same(&|| KeyBuf::of(&[1, 2]), &|| KeyBuf::of(&vec![1_u64, 2]));
    same(&|| KeyBuf::of(&(1, "a")), &|| {
        KeyBuf::of(&(&1_u16, &String::from("a")))
    });
    let address: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    same(&|| KeyBuf::of(&address), &|| {
        KeyBuf::of(&(address.ip(), 80_u16))
    });
    assert_ne!(KeyBuf::of(&7), KeyBuf::of(&-7));
    assert_ne!(KeyBuf::of(&0), KeyBuf::of(&false));
    assert_ne!(KeyBuf::of(&("a",)), KeyBuf::of("a"));
    assert_ne!(KeyBuf::of(&i128::MIN), KeyBuf::of(&(1_u128 << 127)));
}

#[test]
fn common_keys_need_no_allocation_and_long_ones_are_kept_whole() {
    let inline = |key: KeyBuf| assert!(!key.0.spilled(), "{}", key.0.len());
    inline(KeyBuf::of(&u64::MAX));
    inline(KeyBuf::of("2001:0db8:85a3:0000:0000:8a2e:0370:7334"));
    inline(KeyBuf::of(&IpAddr::from([0xffff_u16; 8])));
    inline(KeyBuf::of(&(
        "tenant-0123456789",
        u64::MAX,
        IpAddr::from([255_u8; 4]),
    )));
    inline(KeyBuf::of(&"x".repeat(90)));
    let long = "x".repeat(64 * 1024);
    let key = KeyBuf::of(&long);
    assert!(key.as_ref().as_bytes().ends_with(long.as_bytes()));
    assert_ne!(key, KeyBuf::of(&"x".repeat(64 * 1024 + 1)));
    assert_ne!(key, KeyBuf::of(&(long[1..].to_owned() + "y")));
    assert_eq!(
        format!("{key:?}"),
        format!("Key({} bytes)", key.as_ref().as_bytes().len())
    );
}
