//! What stands for a policy's name and algorithm where hashing them again would cost too much.

use crate::algorithm::Algorithm;

/// 128 bits that stand for a name and an algorithm.
///
/// They are the same in every process and release: [`SipHash`](https://www.aumasson.jp/siphash/)
/// 2-4 under two fixed keys, so that not even who chooses names can make two of them collide in both
/// halves. A store that must not be predictable mixes them with a seed of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity([u64; 2]);

impl Identity {
    pub(super) const fn of(name: &str, algorithm: Algorithm) -> Self {
        let name = name.as_bytes();
        Self([
            siphash(0x5261_7465_4c69_6d69, algorithm as u64, name),
            siphash(0x7450_6f6c_6963_7921, algorithm as u64, name),
        ])
    }

    /// The bits.
    #[inline]
    pub const fn halves(self) -> [u64; 2] {
        self.0
    }
}

/// J.-P. Aumasson, D. J. Bernstein, "`SipHash`: a fast short-input PRF", 2012, as the standard
/// library's hasher is not `const`.
const fn siphash(key0: u64, key1: u64, bytes: &[u8]) -> u64 {
    let mut v = [
        key0 ^ 0x736f_6d65_7073_6575,
        key1 ^ 0x646f_7261_6e64_6f6d,
        key0 ^ 0x6c79_6765_6e65_7261,
        key1 ^ 0x7465_6462_7974_6573,
    ];
    let mut index = 0;
    // The last word holds the bytes that are left, and the length in its highest byte.
    while index <= bytes.len() / 8 {
        let mut word = 0;
        let mut byte = index * 8;
        while byte < bytes.len() && byte < index * 8 + 8 {
            word |= (bytes[byte] as u64) << (8 * (byte % 8));
            byte += 1;
        }
        if index == bytes.len() / 8 {
            word |= (bytes.len() as u64) << 56;
        }
        v[3] ^= word;
        v = round(round(v));
        v[0] ^= word;
        index += 1;
    }
    v[2] ^= 0xff;
    v = round(round(round(round(v))));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

const fn round(mut v: [u64; 4]) -> [u64; 4] {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
    v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_that_was_published() {
        // The first of the vectors of the reference implementation, of 0, 1, 2, 8 and 15 bytes.
        let bytes: Vec<u8> = (0..64).collect();
        let key = |half: usize| u64::from_le_bytes(bytes[half..half + 8].try_into().unwrap());
        let hash = |length: usize| siphash(key(0), key(8), &bytes[..length]);
        assert_eq!(hash(0), 0x726f_db47_dd0e_0e31);
        assert_eq!(hash(1), 0x74f8_39c5_93dc_67fd);
        assert_eq!(hash(8), 0x93f5_f579_9a93_2462);
        assert_eq!(hash(15), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn names_and_algorithms_are_told_apart() {
        let one = Identity::of("login", Algorithm::TokenBucket);
        assert_eq!(one, Identity::of("login", Algorithm::TokenBucket));
        for other in [
            Identity::of("login", Algorithm::Gcra),
            Identity::of("Login", Algorithm::TokenBucket),
            Identity::of("login\0", Algorithm::TokenBucket),
            Identity::of("", Algorithm::TokenBucket),
        ] {
            assert!(one.0[0] != other.0[0] && one.0[1] != other.0[1]);
        }
    }
}
