//! The keys, and in which order they are used.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};

use ratelimit::Key;

/// A type of key that every keyed contender can use.
pub trait BenchKey: Key + Hash + Eq + Clone + Send + Sync + 'static {
    /// The key of that number.
    fn number(number: u32) -> Self;
}

impl BenchKey for String {
    fn number(number: u32) -> Self {
        format!("user-{number:010}")
    }
}

impl BenchKey for u64 {
    fn number(number: u32) -> Self {
        // As identifiers are, somewhere in the middle of the numbers.
        1_000_000_000_000 + u64::from(number)
    }
}

impl BenchKey for IpAddr {
    fn number(number: u32) -> Self {
        Self::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
    }
}

/// How often each key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All alike.
    Uniform,
    /// The key of rank r with a frequency of about 1/r.
    Zipf,
}

impl Spread {
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Zipf];

    /// What the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "Zipf",
        }
    }
}

/// A generator that gives every contender and every run the same numbers (splitmix64, by Steele,
/// Lea and Flood).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `below`.
    #[allow(clippy::cast_possible_truncation)] // the high half of a product with a `u32`
    pub fn below(&mut self, below: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(below)) >> 64) as u32
    }

    /// A rank from 0 to below `below`, of which the one of number r comes with a probability of
    /// ln((r + 2) / (r + 1)) / ln(below + 1), which is about 1/r.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and `below`
    fn zipf(&mut self, below: u32) -> u32 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (unit * (f64::from(below) + 1.0).ln()).exp() as u32;
        (rank - 1).min(below - 1)
    }

    /// One of so many keys. The ranks are scattered, so that keys that are used much are not
    /// those that were made one after the other.
    pub fn spread(&mut self, spread: Spread, keys: u32) -> u32 {
        match spread {
            Spread::Uniform => self.below(keys),
            Spread::Zipf => {
                let rank = u64::from(self.zipf(keys));
                // Prime to every number of keys that is used, so that each rank has its own.
                let scattered = rank * 7_368_787 % u64::from(keys);
                u32::try_from(scattered).expect("less than the keys are")
            }
        }
    }
}

/// The keys of one round, in the order of their use. They lie one after the other in memory, so
/// that reading them costs the same few nanoseconds for every contender and any number of keys: a
/// server has a request's key at hand, too.
pub fn sequence<K: BenchKey>(spread: Spread, keys: u32, length: usize) -> Vec<K> {
    let mut numbers = Numbers::new(u64::from(keys));
    (0..length)
        .map(|_| K::number(numbers.spread(spread, keys)))
        .collect()
}

/// "10 million" for 10,000,000.
pub fn amount(keys: u32) -> String {
    match keys {
        1_000_000.. if keys.is_multiple_of(1_000_000) => format!("{} million", keys / 1_000_000),
        1_000.. if keys.is_multiple_of(1_000) => format!("{} thousand", keys / 1_000),
        _ => keys.to_string(),
    }
}
