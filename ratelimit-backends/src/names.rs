//! What a key is called in a store.

use ratelimit_core::Check;
use sha2::{Digest, Sha256};

/// Longer keys are known by their digest.
const LONGEST: usize = 96;

/// `PREFIX:{KEY}:POLICY:ALGORITHM`. Every part but the prefix is escaped, so that nothing that a client sends reaches another
/// key, another policy or a pattern. The braces are Redis Cluster's: what one caller has under several policies lies in one slot.
#[cfg(any(feature = "redis", test))]
pub(crate) fn storage_key(prefix: &str, check: &Check<'_>) -> String {
    named(prefix, check, LONGEST, usize::MAX)
}

/// How many bytes a [`short_key`] may have behind its prefix, at least.
#[cfg(any(feature = "_sql", feature = "cas", feature = "mongodb"))]
pub(crate) const SHORTEST: usize = 160;

/// The same for a store whose names have at most so many bytes: a policy, then a key, that would make it too long is known by
/// its digest.
#[cfg(any(feature = "_sql", feature = "cas", feature = "mongodb"))]
pub(crate) fn short_key(prefix: &str, check: &Check<'_>, longest: usize) -> String {
    let of = |key, policy| named(prefix, check, key, policy);
    let fits = |name: &String| name.len() <= longest;
    [(LONGEST, usize::MAX), (LONGEST, 0)]
        .into_iter()
        .map(|(key, policy)| of(key, policy))
        .find(fits)
        .unwrap_or_else(|| of(0, 0))
}

/// What is longer than is said is known by its digest.
fn named(prefix: &str, check: &Check<'_>, longest_key: usize, longest_policy: usize) -> String {
    let mut name = String::with_capacity(prefix.len() + 64);
    name.push_str(prefix);
    name.push_str(":{");
    push(&mut name, &check.key.as_bytes(), longest_key);
    name.push_str("}:");
    push(&mut name, check.policy.name().as_bytes(), longest_policy);
    name.push(':');
    name.push_str(check.policy.algorithm().name());
    name
}

fn push(name: &mut String, bytes: &[u8], longest: usize) {
    if bytes.len() <= longest {
        return escape(name, bytes);
    }
    // Nothing that is escaped has this sign.
    name.push('=');
    for byte in Sha256::digest(bytes) {
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

#[cfg(test)]
mod tests {
    use ratelimit_core::{Algorithm, Key, KeyBuf, Policy};

    use super::*;

    fn with<T>(policy: &str, key: &(impl Key + ?Sized), of: impl Fn(&Check<'_>) -> T) -> T {
        let limits = "1/s".parse().unwrap();
        let policy = Policy::named(policy.to_owned().into(), Algorithm::Gcra, limits);
        let key = KeyBuf::of(key);
        of(&Check::new(&policy, policy.limits(), key.as_ref()))
    }

    fn of(policy: &str, key: &(impl Key + ?Sized)) -> String {
        with(policy, key, |check| storage_key("rl", check))
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

    #[cfg(any(feature = "_sql", feature = "cas", feature = "mongodb"))]
    #[test]
    fn a_name_is_as_long_as_it_may_be() {
        let short = |policy: &str, key: &str| {
            with(policy, key, |check| {
                short_key("rl", check, "rl".len() + SHORTEST)
            })
        };
        assert_eq!(short("login", "alice"), of("login", "alice"));
        let (policy, key) = ("p".repeat(200), "k\n".repeat(40));
        for (one, other) in [
            (short(&policy, "k"), short(&"p".repeat(201), "k")),
            (short("p", &key), short("p", &"k\n".repeat(41))),
            (short(&policy, &key), short(&policy, "k")),
        ] {
            assert!(one.len() <= "rl".len() + SHORTEST, "{one}");
            assert_ne!(one, other);
        }
    }
}
