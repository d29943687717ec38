//! The encoding of keys, over values and over bytes.
//!
//! The input makes two values, each spelled in types of its choice (`value`), and bytes.
//!
//! - An encoded key reads back as what it was, by a reader that was written apart (`normal`). So two
//!   values encode equally only where they are the same key, and always then, whatever their types:
//!   the same number, the same text, a reference and what it refers to.
//! - Keys one after the other read back as those keys; no part of a key's bytes is a key.
//! - Bytes that are a key are what this key encodes to: there is no other way to write it, nor
//!   another key that they could be.
//! - `Debug` shows nothing of a key but its length.

mod normal;
mod value;

use arbitrary::{Result, Unstructured};
use ratelimit::{Key, KeyBuf, KeyRef};

use normal::{Normal, Reader};

/// Checks all of it for one input.
pub fn check(input: &[u8]) {
    // The first byte says whether the rest is a key's bytes, or makes values.
    match input {
        [first, bytes @ ..] if *first >= 0x80 => is_read_in_one_way(bytes),
        [_, rest @ ..] => {
            let _ = of_values(&mut Unstructured::new(rest));
        }
        [] => {}
    }
}

fn of_values(input: &mut Unstructured<'_>) -> Result<()> {
    let one = value::normal(input, 0)?;
    let other = value::normal(input, 0)?;
    let mut encoded = |key: &Normal| -> Result<KeyBuf> {
        let spelled = value::spelled(key, input)?;
        let again = value::spelled(key, input)?;
        let encoded = KeyBuf::of(&*spelled);
        assert_eq!(
            bytes(&encoded),
            bytes(&KeyBuf::of(&*again)),
            "{key:?} in two types"
        );
        assert_eq!(
            bytes(&encoded),
            bytes(&KeyBuf::of(key)),
            "{key:?} in its plainest type"
        );
        Ok(encoded)
    };
    let (first, second) = (encoded(&one)?, encoded(&other)?);

    let mut both = KeyBuf::of(&one);
    other.encode(&mut both);
    assert_eq!(bytes(&both), [bytes(&first), bytes(&second)].concat());
    let mut reader = Reader::new(bytes(&both));
    assert_eq!(reader.key().as_ref(), Some(&one), "from {first:?}");
    assert_eq!(reader.key().as_ref(), Some(&other), "from {second:?}");
    assert_eq!(reader.left(), 0);
    assert_eq!(first == second, one == other, "{one:?} and {other:?}");

    for length in 0..bytes(&first).len().min(200) {
        let part = &bytes(&first)[..length];
        assert_eq!(Reader::new(part).key(), None, "{length} bytes of {one:?}");
    }
    assert_eq!(
        format!("{first:?}"),
        format!("Key({} bytes)", bytes(&first).len())
    );
    assert_eq!(KeyBuf::from(KeyRef::from_bytes(bytes(&first))), first);
    Ok(())
}

/// Bytes that may be a key.
fn is_read_in_one_way(input: &[u8]) {
    let mut reader = Reader::new(input);
    let mut at = 0;
    while let Some(key) = reader.key() {
        let end = input.len() - reader.left();
        assert_eq!(bytes(&KeyBuf::of(&key)), &input[at..end], "{key:?}");
        at = end;
    }
}

fn bytes(key: &KeyBuf) -> &[u8] {
    key.as_bytes()
}
