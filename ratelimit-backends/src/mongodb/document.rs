//! What is stored of a key: the fields of its document, and the state in its [stored form](ratelimit_core::KeyState::encode).
//!
//! | field | what |
//! |---|---|
//! | `_id` | the key's name |
//! | `v` | a number that every write changes to one that nobody had before |
//! | `a` | the algorithm; none where the key is fresh |
//! | `p1` | the period of the first rate, in nanoseconds; `p2` that of the second, … |
//! | `w1`, `r1`, `o1` | of a bucket: when it is full again (nanoseconds), the fraction of one, and its denominator; no fraction if they are missing |
//! | `w1`, `r1` | of a fixed window: when it began, and its count |
//! | `w1`, `r1`, `o1` | of a window counter: when its window began, the count before, and the current one |
//! | `s` | the whole state in its stored form, where these fields cannot have it: logs, and times beyond 2262 |
//! | `b` | those of its fields that the last decision changed, as they were before |
//! | `expires` | when the key is surely fresh again |

use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document};
use ratelimit_core::Algorithm;

pub(super) const VERSION: &str = "v";
pub(super) const ALGORITHM: &str = "a";
pub(super) const WHOLE: &str = "s";
pub(super) const BEFORE: &str = "b";
pub(super) const EXPIRES: &str = "expires";

/// The format of stored states.
const FORMAT: u8 = 1;

/// How many rates a document has at most.
const RATES: usize = 8;

const NANOS: u64 = 1_000_000_000;

/// The name of a field, or of a variable, of a rate.
pub(super) fn field(name: char, rate: usize) -> String {
    format!("{name}{rate}")
}

/// A version that no document has had. Processes that were one until now have the same random numbers ahead of them, and their
/// number and the time apart.
pub(super) fn version() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |it| i64::from(it.subsec_nanos()));
    fastrand::i64(..) ^ nanos ^ i64::from(process::id()) << 32
}

/// What was found of a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// That of the document, if there is one.
    pub(super) version: Option<i64>,
    /// No bytes for a fresh key; none where there is something else than a state.
    pub(super) state: Option<Vec<u8>>,
}

impl Stored {
    /// There is nothing.
    pub(super) fn nothing() -> Self {
        Self {
            state: Some(Vec::new()),
            ..Self::default()
        }
    }

    pub(super) fn of(document: &Document) -> Self {
        let Ok(version) = document.get_i64(VERSION) else {
            return Self::default();
        };
        Self {
            version: Some(version),
            state: state(document),
        }
    }
}

/// The state before a decision that changed these fields of the document.
pub(super) fn before(document: &Document, changed: &[String]) -> Option<Vec<u8>> {
    let were = document.get_document(BEFORE).ok()?;
    if were.is_empty() {
        return Some(Vec::new());
    }
    let mut before = document.clone();
    for name in changed {
        match were.get(name) {
            Some(value) => before.insert(name, value.clone()),
            None => before.remove(name),
        };
    }
    state(&before)
}

/// The state that these fields have, in its stored form; none if they have none.
pub(super) fn state(document: &Document) -> Option<Vec<u8>> {
    match document.get(WHOLE) {
        None => {}
        Some(Bson::Binary(binary)) => return Some(binary.bytes.clone()),
        Some(_) => return None,
    }
    let algorithm = match document.get(ALGORITHM) {
        None => return Some(Vec::new()),
        Some(Bson::Int32(number)) => known(u8::try_from(*number).ok()?)?,
        Some(_) => return None,
    };
    let mut bytes = vec![FORMAT, algorithm.number(), 0];
    for rate in 1..=RATES {
        let number = |name| {
            let found = document.get_i64(field(name, rate)).ok()?;
            u64::try_from(found).ok()
        };
        if !document.contains_key(field('p', rate)) {
            break;
        }
        let (period, whole) = (number('p').filter(|it| *it > 0)?, number('w')?);
        let narrow = |name| number(name).and_then(|it| u32::try_from(it).ok());
        bytes.extend(period.to_be_bytes());
        if algorithm.is_bucket() {
            bytes.extend((whole / NANOS).to_be_bytes());
            bytes.extend(u32::try_from(whole % NANOS).ok()?.to_be_bytes());
            // Most have no parts, and do not say so.
            let (part, q) = if document.contains_key(field('r', rate)) {
                (narrow('r')?, narrow('o')?)
            } else {
                (0, 1)
            };
            bytes.extend(part.to_be_bytes());
            bytes.extend(q.to_be_bytes());
        } else {
            if whole % period != 0 {
                return None;
            }
            bytes.extend((whole / period).to_be_bytes());
            bytes.extend(narrow('r')?.to_be_bytes());
            if algorithm == Algorithm::SlidingWindowCounter {
                bytes.extend(narrow('o')?.to_be_bytes());
            }
        }
        bytes[2] += 1;
    }
    (bytes[2] > 0).then_some(bytes)
}

fn known(number: u8) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|it| it.number() == number)
}

/// The fields of a state in its stored form.
pub(super) fn fields(state: &[u8]) -> Document {
    if state.is_empty() {
        return Document::new();
    }
    flat(state).unwrap_or_else(|| {
        let mut whole = Document::new();
        if let Some(algorithm) = state.get(1) {
            whole.insert(ALGORITHM, i32::from(*algorithm));
        }
        whole.insert(
            WHOLE,
            Binary {
                subtype: BinarySubtype::Generic,
                bytes: state.to_vec(),
            },
        );
        whole
    })
}

/// A field for each number, if they can have them.
fn flat(state: &[u8]) -> Option<Document> {
    let ([FORMAT, number, rates], mut rest) = state.split_first_chunk()? else {
        return None;
    };
    let algorithm = known(*number)?;
    if algorithm == Algorithm::SlidingWindow {
        return None;
    }
    let mut document = Document::new();
    document.insert(ALGORITHM, i32::from(*number));
    for rate in 1..=usize::from(*rates) {
        let period = wide(&mut rest)?;
        let (whole, first, second) = if algorithm.is_bucket() {
            let seconds = wide(&mut rest)?.checked_mul(NANOS)?;
            let whole = seconds.checked_add(narrow(&mut rest)?)?;
            (whole, narrow(&mut rest)?, narrow(&mut rest)?)
        } else {
            let begun = wide(&mut rest)?.checked_mul(period)?;
            let first = narrow(&mut rest)?;
            let second = if algorithm == Algorithm::SlidingWindowCounter {
                narrow(&mut rest)?
            } else {
                0
            };
            (begun, first, second)
        };
        document.insert(field('p', rate), i64::try_from(period).ok()?);
        document.insert(field('w', rate), i64::try_from(whole).ok()?);
        if algorithm.is_bucket() && (first, second) == (0, 1) {
            continue;
        }
        document.insert(field('r', rate), i64::try_from(first).ok()?);
        if algorithm != Algorithm::FixedWindow {
            document.insert(field('o', rate), i64::try_from(second).ok()?);
        }
    }
    rest.is_empty().then_some(document)
}

fn wide(rest: &mut &[u8]) -> Option<u64> {
    let (taken, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(u64::from_be_bytes(*taken))
}

fn narrow(rest: &mut &[u8]) -> Option<u64> {
    let (taken, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(u32::from_be_bytes(*taken).into())
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use ratelimit_core::{Check, KeyBuf, KeyState, Limits, Policy, Timestamp};

    use super::*;

    fn used(algorithm: Algorithm, limits: &str, now: Timestamp) -> Vec<u8> {
        let limits: Limits = limits.parse().unwrap();
        let policy = Policy::named("p".into(), algorithm, limits);
        let key = KeyBuf::of("k");
        let mut state = KeyState::fresh(algorithm);
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        assert!(state.decide(&check, now).is_allowed());
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_state_is_the_same_when_it_is_read() {
        let now = Timestamp::from_unix(Duration::from_millis(1_700_000_000_123));
        for algorithm in Algorithm::ALL {
            for limits in ["3/s", "9_999_991/s, 7/4w", "1/s, 2/m, 3/h, 4/d"] {
                let bytes = used(algorithm, limits, now);
                let written = fields(&bytes);
                assert_eq!(
                    written.contains_key(WHOLE),
                    algorithm == Algorithm::SlidingWindow
                );
                assert_eq!(state(&written), Some(bytes), "{algorithm} {limits}");
            }
        }
        assert_eq!(state(&fields(&[])), Some(Vec::new()));
    }

    #[test]
    fn what_is_too_large_is_kept_whole() {
        let late = Timestamp::from_nanos(u64::MAX - 2_000_000_000);
        let bytes = used(Algorithm::TokenBucket, "1/s", late);
        assert!(fields(&bytes).contains_key(WHOLE));
        assert_eq!(state(&fields(&bytes)), Some(bytes));
    }

    #[test]
    fn what_others_wrote_is_no_state() {
        let bytes = used(
            Algorithm::FixedWindow,
            "1/s",
            Timestamp::from_nanos(1 << 60),
        );
        let good = fields(&bytes);
        assert!(state(&good).is_some());
        for (name, value) in [
            (ALGORITHM, Bson::Int32(99)),
            (ALGORITHM, Bson::String("x".to_owned())),
            ("p1", Bson::Int64(0)),
            ("w1", Bson::Int64(-1)),
            ("w1", Bson::Int64(7)),
            ("r1", Bson::Double(1.0)),
            ("r1", Bson::Int64(1 << 40)),
            (WHOLE, Bson::Null),
        ] {
            let mut bad = good.clone();
            bad.insert(name, value);
            assert_eq!(state(&bad), None, "{name}");
        }
        assert!(Stored::of(&good).state.is_none(), "it has no version");
    }

    #[test]
    fn processes_with_the_same_random_numbers_have_other_versions() {
        fastrand::seed(7);
        let one = version();
        // The system's clock may be a coarse one.
        let other = (0..1_000_000).map(|_| {
            fastrand::seed(7);
            version()
        });
        assert!(other.into_iter().any(|other| other != one));
    }
}
