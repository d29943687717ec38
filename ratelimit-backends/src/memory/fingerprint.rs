//! What a key is kept as: 128 bits, seeded at random for each backend.

use std::hash::{BuildHasher, Hasher, RandomState};

use ratelimit_core::{KeyRef, Policy};

/// Stands for one key of one policy and algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    /// Which of so many shards the key lives in.
    pub(super) fn shard(self, shards: usize) -> usize {
        // The table inside a shard hashes again, so any bits will do.
        usize::try_from((self.0 >> 64) % shards as u128).unwrap_or(0)
    }
}

/// Two keyed hashes (the standard library's `SipHash`), each with a random seed.
#[derive(Debug)]
pub(super) struct Seeds(RandomState, RandomState);

impl Seeds {
    pub(super) fn random() -> Self {
        Self(RandomState::new(), RandomState::new())
    }

    /// The fingerprint of a key of a policy.
    pub(super) fn key(&self, policy: &Policy, key: KeyRef<'_>) -> Fingerprint {
        self.fingerprint(policy, Some(key.as_bytes()))
    }

    /// The fingerprint of a policy itself, which no key of it has.
    pub(super) fn policy(&self, policy: &Policy) -> Fingerprint {
        self.fingerprint(policy, None)
    }

    fn fingerprint(&self, policy: &Policy, key: Option<&[u8]>) -> Fingerprint {
        let hash = |seed: &RandomState| {
            let mut hasher = seed.build_hasher();
            // The name's length first, so that no name can run into a key.
            hasher.write_usize(policy.name().len());
            hasher.write(policy.name().as_bytes());
            hasher.write_u8(policy.algorithm() as u8);
            hasher.write_u8(u8::from(key.is_some()));
            hasher.write(key.unwrap_or_default());
            u128::from(hasher.finish())
        };
        Fingerprint(hash(&self.0) << 64 | hash(&self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_core::Algorithm;

    #[test]
    fn names_algorithms_and_keys_are_kept_apart() {
        let rate = "1/s".parse().unwrap();
        let seeds = Seeds::random();
        let of = |name, algorithm, key: &'static [u8]| {
            seeds.key(&Policy::new(name, algorithm, rate), KeyRef::from_bytes(key))
        };
        let one = of("ab", Algorithm::TokenBucket, b"c");
        assert_eq!(one, of("ab", Algorithm::TokenBucket, b"c"));
        assert_ne!(one, of("a", Algorithm::TokenBucket, b"bc"));
        assert_ne!(one, of("ab", Algorithm::Gcra, b"c"));
        // What stands between a name and a key may be in either.
        assert_ne!(
            of("a", Algorithm::TokenBucket, b"\0\x01b"),
            of("a\0\x01", Algorithm::TokenBucket, b"b")
        );
        assert_ne!(
            of("ab", Algorithm::Gcra, b""),
            seeds.policy(&Policy::new("ab", Algorithm::Gcra, rate))
        );
        let other = Seeds::random().key(
            &Policy::new("ab", Algorithm::TokenBucket, rate),
            KeyRef::from_bytes(b"c"),
        );
        assert_ne!(one, other, "seeds are random");
    }
}
