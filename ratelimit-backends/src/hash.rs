//! What a key is known by: 64 bits, seeded at random for each backend.

use core::hash::{BuildHasher, Hasher};
use std::hash::RandomState;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use ratelimit_core::{KeyRef, Policy};

/// Stands for one key of one policy and algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint(pub(crate) u64);

/// A policy, mixed with the secrets of one backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixed(u64);

/// The secrets of one backend. Without them nobody can compute keys that share a fingerprint, a
/// line or a segment.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Seeds {
    shared: SharedSeed,
    policy: [u64; 2],
    head: [u64; 2],
    tail: u64,
    last: [u64; 2],
}

impl Seeds {
    pub(crate) fn random() -> Self {
        // The standard library's hasher is seeded by the operating system.
        let random = RandomState::new();
        let secret = |index: u64| random.hash_one(index);
        Self {
            shared: SharedSeed::from_u64(secret(0)),
            policy: [secret(1), secret(2)],
            head: [secret(3), secret(4)],
            tail: secret(5),
            last: [secret(6), secret(7)],
        }
    }

    /// The fingerprint of a key of a policy.
    ///
    /// Policy and key are each mixed with secrets of their own, at the same time, and then with each
    /// other: so keys that are made for one policy say nothing about those of another, although the
    /// policies' identities are no secret.
    #[inline(always)]
    pub(crate) fn key(&self, policy: &Policy, key: KeyRef<'_>) -> Fingerprint {
        self.key_of(self.policy(policy), key)
    }

    /// A policy, mixed.
    #[inline(always)]
    pub(crate) fn policy(&self, policy: &Policy) -> Mixed {
        let [low, high] = policy.identity().halves();
        Mixed(folded(low ^ self.policy[0], high ^ self.policy[1]))
    }

    /// The fingerprint of a key of a policy that is mixed already.
    #[inline(always)]
    pub(crate) fn key_of(&self, Mixed(policy): Mixed, key: KeyRef<'_>) -> Fingerprint {
        let ([low, high], length, tail) = key.parts();
        let (key, kind) = if tail.is_empty() {
            let high = high ^ (u64::from(length) << 56);
            (
                folded(low ^ self.head[0], high ^ self.head[1]),
                self.last[0],
            )
        } else {
            // The head says what the tail is, and how long: nearly nothing that could be chosen.
            let mut hasher = FoldHasher::with_seed(self.tail, &self.shared);
            hasher.write(tail);
            let head = low ^ high.rotate_left(32) ^ (u64::from(length) << 56);
            (hasher.finish(), self.last[1] ^ head)
        };
        Fingerprint(folded(key ^ policy, kind))
    }
}

/// Multiplies two numbers to one twice as wide, and folds it: both halves count.
#[inline]
fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    #[allow(clippy::cast_possible_truncation)] // the lower half
    let low = product as u64;
    #[allow(clippy::cast_possible_truncation)] // the upper one
    let high = (product >> 64) as u64;
    low ^ high
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
        let other = Seeds::random().key(
            &Policy::new("ab", Algorithm::TokenBucket, rate),
            KeyRef::from_bytes(b"c"),
        );
        assert_ne!(one, other, "seeds are random");
    }

    #[test]
    fn keys_of_one_bit_apart_share_no_bit_more_than_by_chance() {
        let policy = Policy::new("p", Algorithm::TokenBucket, "1/s".parse().unwrap());
        let seeds = Seeds::random();
        for length in [1, 8, 15, 16, 17, 40, 300] {
            let of = |bytes: &[u8]| seeds.key(&policy, KeyRef::from_bytes(bytes)).0;
            let mut changed = [0_u32; 64];
            let mut tries = 0;
            for bit in 0..length * 8 {
                let mut bytes = vec![0x5a_u8; length];
                let before = of(&bytes);
                bytes[bit / 8] ^= 1 << (bit % 8);
                let after = of(&bytes);
                tries += 1;
                for (bit, count) in changed.iter_mut().enumerate() {
                    *count += u32::from((before ^ after) >> bit & 1 == 1);
                }
            }
            // Each bit of the answer changes in about half of the cases; few cases say little.
            if tries >= 64 {
                let range = tries / 5..=tries - tries / 5;
                assert!(
                    changed.iter().all(|count| range.contains(count)),
                    "{length}: {changed:?}"
                );
            }
        }
    }
}
