//! No key is taken for another: not where names and keys are joined, not where a store folds case or
//! cuts what is long.

use ratelimit_core::{Algorithm, Check, Decision, Join, Limits, Policy};

use super::Store;
use super::bench::{Bench, check};

/// Texts that a naive join of names and keys, or a store's own syntax, could confuse.
const TRICKY: [&str; 40] = [
    "", "a", "b", "ab", "a:", ":a", "a:b", ":", "::", "a::b", "a b", "a ", " a", "A", "a\0", "\0",
    "\0a", "a\0b", "{a}", "{", "}", "{}", "a{b}", "*", "a*", "?", "a\n", "a\r\n", "\"a\"", "'a'",
    "a'--", "%", "a%", "_", "\\", "/", "a/b", "$a", "é", "e\u{301}",
];

const POLICIES: [&str; 14] = [
    "", "a", "b", "a:", "a:b", ":", "A", "a ", "a\0", "{a}", "*", "é", "a/b", "a\nb",
];

/// Keys that are no text, and each single byte.
fn keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = TRICKY.iter().map(|key| key.as_bytes().to_vec()).collect();
    keys.extend((0..=u8::MAX).map(|byte| vec![byte]));
    keys.extend([
        vec![0; 2],
        vec![0; 3],
        vec![0xff; 2],
        vec![0xc3],
        vec![0xc3, 0xa9, 0x80],
    ]);
    keys.sort();
    keys.dedup();
    keys
}

/// Each is admitted once, as it would be if it were alone.
fn each_once(bench: &Bench, checks: &[Check<'_>]) {
    let allowed = |checks: &[Check<'_>]| -> Vec<bool> {
        let answers = checks
            .chunks(500)
            .flat_map(|some| bench.decide_all(some, Join::Each));
        answers
            .map(|answer| answer.expect("a decision").is_allowed())
            .collect()
    };
    let taken = |answers: Vec<bool>, expected: bool| {
        let wrong = answers.iter().position(|allowed| *allowed != expected);
        if let Some(wrong) = wrong {
            let check = &checks[wrong];
            let key = &check.key.as_bytes()[..check.key.as_bytes().len().min(80)];
            panic!(
                "{:?} of {} is taken for another",
                key.escape_ascii().to_string(),
                check.policy
            );
        }
    };
    taken(allowed(checks), true);
    taken(allowed(checks), false);
}

/// Tricky names of policies, each with every tricky key.
pub fn no_key_is_taken_for_another(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let limits: Limits = "1/h".parse().expect("limits");
    let policies = POLICIES.map(|name| Policy::named(name.into(), algorithm, limits));
    let keys = keys();
    let tricky = keys.iter().filter(|key| key.len() != 1);
    let few = policies[1..]
        .iter()
        .flat_map(|policy| tricky.clone().map(|key| check(policy, key)));
    let all = keys.iter().map(|key| check(&policies[0], key));
    let checks: Vec<_> = few.chain(all).collect();
    each_once(&bench, &checks);
    // A reset of one is a reset of no other.
    let (one, others) = (&checks[7..8], [&checks[..7], &checks[8..]].concat());
    bench.reset(one);
    assert!(bench.decide(&one[0]).is_allowed());
    let answers = others.chunks(500).flat_map(|some| bench.peek_all(some));
    let left: u32 = answers
        .flatten()
        .map(|peeked: Decision| peeked.remaining())
        .sum();
    assert_eq!(left, 0, "a reset of one key");
}

/// 64 KiB, and a difference in the first byte, in the last, or in length.
pub fn long_keys_that_differ_in_a_byte(store: &dyn Store, algorithm: Algorithm) {
    let Some(bench) = Bench::with(store, algorithm) else {
        return;
    };
    let policy = bench.policy_of(algorithm, "1/h");
    let mut keys = Vec::new();
    for length in [250, 251, 255, 256, 1_024, 65_536] {
        for byte in [0, length / 2, length - 1] {
            let mut key = vec![b'k'; length];
            key[byte] = b'l';
            keys.push(key);
        }
        keys.push(vec![b'k'; length]);
        keys.push(vec![b'k'; length - 1]);
    }
    keys.sort();
    keys.dedup();
    let checks: Vec<_> = keys.iter().map(|key| check(&policy, key)).collect();
    each_once(&bench, &checks);
}

/// One name and one key under several algorithms are several budgets.
pub fn no_key_is_taken_for_another_algorithms(store: &dyn Store) {
    let bench = Bench::injected(store);
    let limits: Limits = "1/h".parse().expect("limits");
    let algorithms = bench.capabilities().algorithms.iter();
    let policy = |algorithm| Policy::named("of several algorithms".into(), algorithm, limits);
    let policies: Vec<_> = algorithms.map(policy).collect();
    let checks: Vec<_> = policies
        .iter()
        .map(|policy| check(policy, b"key"))
        .collect();
    each_once(&bench, &checks);
}
