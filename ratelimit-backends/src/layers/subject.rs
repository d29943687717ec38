//! [`Subject`]: whose things a layer remembers together; [`Asked`]: the same, borrowed.

use core::hash::{BuildHasher, Hash, Hasher};

use quick_cache::Equivalent;
use ratelimit_core::{Check, Identity, KeyRef};
use sha2::{Digest, Sha256};

use crate::hash::Fingerprint;

/// Longer ends of keys are known by their digest, so that what clients send does not say how much
/// is kept.
const LONGEST: usize = 128;

/// A key of a policy and algorithm, compared in full: by its bytes or, where they are many, by their
/// SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) fingerprint: Fingerprint,
    policy: Identity,
    head: [u64; 2],
    head_length: u8,
    tail: Tail,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tail {
    Whole(Box<[u8]>),
    Digest([u8; 32]),
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) check: &'a Check<'a>,
    pub(super) fingerprint: Fingerprint,
}

impl Asked<'_> {
    pub(super) fn subject(&self) -> Subject {
        let (head, head_length, tail) = self.check.key.parts();
        Subject {
            fingerprint: self.fingerprint,
            policy: self.check.policy.identity(),
            head,
            head_length,
            tail: if tail.len() <= LONGEST {
                Tail::Whole(tail.into())
            } else {
                Tail::Digest(Sha256::digest(tail).into())
            },
        }
    }
}

impl Equivalent<Subject> for Asked<'_> {
    fn equivalent(&self, subject: &Subject) -> bool {
        if self.fingerprint != subject.fingerprint || self.check.policy.identity() != subject.policy
        {
            return false;
        }
        let whole = |tail| KeyRef::from_parts(subject.head, subject.head_length, tail);
        match &subject.tail {
            Tail::Whole(tail) => self.check.key == whole(tail),
            Tail::Digest(digest) => {
                let (head, head_length, tail) = self.check.key.parts();
                (head, head_length) == (subject.head, subject.head_length)
                    && tail.len() > LONGEST
                    && Sha256::digest(tail)[..] == digest[..]
            }
        }
    }
}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint.0);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint.0);
    }
}

/// Takes fingerprints for their own hashes: they are mixed with secrets already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixed(u64);

impl BuildHasher for Mixed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached: only fingerprints are hashed.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

#[cfg(test)]
mod tests {
    use ratelimit_core::{Algorithm, KeyBuf, Policy};

    use super::*;

    #[test]
    fn keys_of_one_fingerprint_are_told_apart() {
        let rate = "1/s".parse().unwrap();
        let policies = [
            Policy::new("one", Algorithm::TokenBucket, rate),
            Policy::new("one", Algorithm::Gcra, rate),
            Policy::new("other", Algorithm::TokenBucket, rate),
        ];
        let long = |last: &str| KeyBuf::of(&("x".repeat(500) + last));
        let keys = [
            KeyBuf::new(),
            KeyBuf::of("a"),
            KeyBuf::of(&"a".repeat(128)),
            KeyBuf::of(&"a".repeat(129)),
            KeyBuf::of(&7),
            KeyBuf::of(&("a", "b")),
            long("a"),
            long("b"),
        ];
        let mut checks = Vec::new();
        for policy in &policies {
            for key in &keys {
                checks.push(Check::new(policy, policy.limits(), key.as_ref()));
            }
        }
        // As if every hash collided.
        let questions = checks.iter().map(|check| Asked {
            check,
            fingerprint: Fingerprint(7),
        });
        for (place, question) in questions.clone().enumerate() {
            for (other, subject) in questions.clone().map(|asked| asked.subject()).enumerate() {
                assert_eq!(question.equivalent(&subject), place == other);
                assert_eq!(question.subject() == subject, place == other);
            }
        }
    }

    #[test]
    fn nobody_can_send_a_digest() {
        let policy = Policy::new("p", Algorithm::Gcra, "1/s".parse().unwrap());
        let long = KeyBuf::of(&"x".repeat(500));
        let (head, length, tail) = long.as_ref().parts();
        let digest = Sha256::digest(tail);
        let short = KeyRef::from_parts(head, length, &digest);
        let question = |check| Asked {
            check,
            fingerprint: Fingerprint(7),
        };
        let long = Check::new(&policy, policy.limits(), long.as_ref());
        let short = Check::new(&policy, policy.limits(), short);
        assert!(!question(&short).equivalent(&question(&long).subject()));
        assert!(!question(&long).equivalent(&question(&short).subject()));
    }
}
