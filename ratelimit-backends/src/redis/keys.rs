//! What a key is called in the store.

use ratelimit_core::{Check, KeyRef};
use sha2::{Digest, Sha256};

/// Longer keys are known by their digest.
const LONGEST: usize = 96;

/// `PREFIX:{KEY}:POLICY:ALGORITHM`. Every part but the prefix is escaped, so that nothing that a client sends reaches another
/// key, another policy or a pattern. The braces are Redis Cluster's: what one caller has under several policies lies in one slot.
pub(super) fn storage_key(prefix: &str, check: &Check<'_>) -> String {
    let mut name = String::with_capacity(prefix.len() + 64);
    name.push_str(prefix);
    name.push_str(":{");
    push_key(&mut name, check.key);
    name.push_str("}:");
    escape(&mut name, check.policy.name().as_bytes());
    name.push(':');
    name.push_str(check.policy.algorithm().name());
    name
}

fn push_key(name: &mut String, key: KeyRef<'_>) {
    let bytes = key.as_bytes();
    if bytes.len() <= LONGEST {
        escape(name, &bytes);
        return;
    }
    // No escaped key has this sign.
    name.push('=');
    for byte in Sha256::digest(&*bytes) {
        push_hex(name, byte);
    }
}

fn push_hex(name: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 0xf] {
        let letter = if digit < 10 { b'0' } else { b'a' - 10 };
        name.push(char::from(letter + digit));
    }
}

fn escape(name: &mut String, bytes: &[u8]) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"_-.@".contains(byte) {
            name.push(char::from(*byte));
        } else {
            name.push('%');
            push_hex(name, *byte);
        }
    }
}

/// In which of a cluster's slots a key is: by what stands between the first brace and the next that closes,
/// if there is anything.
pub(super) fn slot(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(name).as_bytes()) % 16_384
}

#[cfg(test)]
mod tests {
    use ratelimit_core::{Algorithm, Key, KeyBuf, Policy};

    use super::*;

    fn of<K: Key + ?Sized>(policy: &str, key: &K) -> String {
        let policy = Policy::named(
            policy.to_owned().into(),
            Algorithm::Gcra,
            "1/s".parse().unwrap(),
        );
        let key = KeyBuf::of(key);
        storage_key("rl", &Check::new(&policy, policy.limits(), key.as_ref()))
    }

    #[test]
    fn what_one_caller_has_lies_in_one_slot() {
        // As `CLUSTER KEYSLOT` says.
        assert_eq!(slot("123456789"), 12_739);
        assert_eq!(slot("foo{bar}baz{x}"), slot("bar"));
        assert_eq!(slot("foo{}{bar}"), slot("foo{}{bar}"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
        assert_eq!(slot(&of("a", "alice")), slot(&of("b", "alice")));
    }

    #[test]
    fn nothing_that_a_client_sends_is_more_than_a_name() {
        assert_eq!(of("login", "alice"), "rl:{t%05alice}:login:gcra");
        assert_eq!(
            of("a b", "}*?[\n:"),
            "rl:{t%06%7d%2a%3f%5b%0a%3a}:a%20b:gcra"
        );
        assert_ne!(of("a:b", "c"), of("a", "b:c"));
        let long = of("p", &"x".repeat(1_000));
        assert_eq!(long.len(), "rl:{=}:p:gcra".len() + 64);
        assert_ne!(long, of("p", &"x".repeat(1_001)));
        assert_ne!(of("p", &long[4..69]), long, "nobody can send a digest");
    }
}
