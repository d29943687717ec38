//! [`Row`]: a key's state as the columns of a row, so that a statement has numbers to work with.
//!
//! The states of up to four rates that are numbers stand in columns of their own; anything else, as a log, stands as the
//! [bytes](ratelimit_core::KeyState::encode) that other stores keep.

use crate::shape::Family;

/// How many rates have columns.
pub(super) const RATES: usize = 4;

const NANOS: u64 = 1_000_000_000;

/// What the state of a rate is behind its period: the numbers of the columns `w`, `r` and `o`.
///
/// | | `w` | `r` | `o` |
/// |---|---|---|---|
/// | a bucket | the nanosecond at which it is full again | parts of one more | how many parts a nanosecond has |
/// | a fixed window | the number of the window | units used in it | 0 |
/// | two windows | the number of the current one | units used in the one before | units used in it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) period: i64,
    pub(super) w: i64,
    pub(super) r: i64,
    pub(super) o: i64,
}

/// A key's state as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// No bytes where there are columns, or nothing.
    pub(super) state: Vec<u8>,
    /// The algorithm's [number](ratelimit_core::Algorithm::number).
    pub(super) algorithm: Option<i16>,
    pub(super) rates: Vec<Rate>,
}

impl Row {
    /// What is stored of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let columns = columns(bytes);
        let Some((algorithm, rates)) = columns else {
            return Self {
                state: bytes.to_vec(),
                ..Self::default()
            };
        };
        Self {
            state: Vec::new(),
            algorithm: Some(algorithm),
            rates,
        }
    }

    /// The bytes of which it was made. What nobody made becomes bytes that are no state.
    pub(super) fn bytes(self) -> Vec<u8> {
        if !self.state.is_empty() || self.rates.is_empty() {
            return self.state;
        }
        self.encoded().unwrap_or_else(|| vec![0])
    }

    fn encoded(&self) -> Option<Vec<u8>> {
        let algorithm = u8::try_from(self.algorithm?).ok()?;
        let family = Family::of_number(algorithm)?;
        let count = u8::try_from(self.rates.len()).ok()?;
        let mut out = vec![1, algorithm, count];
        for Rate { period, w, r, o } in &self.rates {
            let w = u64::try_from(*w).ok()?;
            let (r, o) = (u32::try_from(*r).ok()?, u32::try_from(*o).ok()?);
            out.extend(u64::try_from(*period).ok()?.to_be_bytes());
            match family {
                Family::Bucket => {
                    out.extend((w / NANOS).to_be_bytes());
                    out.extend(u32::try_from(w % NANOS).ok()?.to_be_bytes());
                    out.extend(r.to_be_bytes());
                    out.extend(o.to_be_bytes());
                }
                Family::Fixed => {
                    out.extend(w.to_be_bytes());
                    out.extend(r.to_be_bytes());
                }
                Family::Counter => {
                    out.extend(w.to_be_bytes());
                    out.extend(r.to_be_bytes());
                    out.extend(o.to_be_bytes());
                }
            }
        }
        Some(out)
    }
}

/// The columns for a state, if it has no more than they hold.
fn columns(bytes: &[u8]) -> Option<(i16, Vec<Rate>)> {
    let ([1, algorithm, count], mut rest) = bytes.split_first_chunk()? else {
        return None;
    };
    let family = Family::of_number(*algorithm)?;
    if !(1..=RATES).contains(&usize::from(*count)) {
        return None;
    }
    let mut rates = Vec::with_capacity((*count).into());
    for _ in 0..*count {
        let period = whole(&mut rest)?;
        let (w, r, o) = match family {
            Family::Bucket => {
                let (seconds, nanos) = (whole(&mut rest)?, part(&mut rest)?);
                let whole = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
                (whole, part(&mut rest)?, part(&mut rest)?)
            }
            Family::Fixed => (whole(&mut rest)?, part(&mut rest)?, 0),
            Family::Counter => (whole(&mut rest)?, part(&mut rest)?, part(&mut rest)?),
        };
        rates.push(Rate { period, w, r, o });
    }
    rest.is_empty().then_some(((*algorithm).into(), rates))
}

fn whole(rest: &mut &[u8]) -> Option<i64> {
    let (taken, others) = rest.split_first_chunk()?;
    *rest = others;
    u64::from_be_bytes(*taken).try_into().ok()
}

fn part(rest: &mut &[u8]) -> Option<i64> {
    let (taken, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(u32::from_be_bytes(*taken).into())
}

/// What a row of a database says from its column `first` on: `state`, `a`, and the columns of so many rates.
pub(super) fn read<R>(row: &R, first: usize, rates: usize) -> Result<Row, sqlx::Error>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    for<'r> Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> Option<i16>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    for<'r> Option<i64>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let mut read = Row {
        state: row.try_get(first)?,
        algorithm: row.try_get(first + 1)?,
        rates: Vec::new(),
    };
    for rate in 0..rates {
        let column = first + 2 + 4 * rate;
        let Some(period) = row.try_get(column)? else {
            break;
        };
        let number = |place| {
            let number: Result<Option<i64>, _> = row.try_get(column + place);
            number.map(Option::unwrap_or_default)
        };
        let (w, r, o) = (number(1)?, number(2)?, number(3)?);
        read.rates.push(Rate { period, w, r, o });
    }
    Ok(read)
}

/// The names of the columns of each rate.
pub(super) fn columns_of(rates: usize) -> impl Iterator<Item = String> {
    (1..=rates).flat_map(|rate| ["p", "w", "r", "o"].map(|column| format!("{column}{rate}")))
}

/// The columns of so many rates, as `write` says it, one after the other.
pub(super) fn each_column(rates: usize, write: impl Fn(&str) -> String) -> String {
    columns_of(rates).fold(String::new(), |all, column| all + &write(&column))
}

#[cfg(test)]
mod tests {
    use ratelimit_core::{Algorithm, Check, KeyBuf, KeyState, Policy, Timestamp};

    use super::{RATES, Rate, Row};

    #[test]
    fn every_state_is_stored_and_read() {
        for algorithm in Algorithm::ALL {
            for limits in ["7/h", "7/4w, 9/5w", "1/s, 9/m, 20/h, 30/d"] {
                let policy = Policy::named("p".into(), algorithm, limits.parse().unwrap());
                let key = KeyBuf::of("k");
                let check = Check::new(&policy, policy.limits(), key.as_ref());
                let mut state = KeyState::fresh(algorithm);
                let mut bytes = Vec::new();
                state.encode(&mut bytes);
                assert_eq!(Row::of(&bytes).bytes(), bytes);
                state.decide(&check, Timestamp::from_nanos(1_700_000_000_123_456_789));
                bytes.clear();
                state.encode(&mut bytes);
                let row = Row::of(&bytes);
                let by_columns = algorithm != Algorithm::SlidingWindow;
                assert_eq!(row.state.is_empty(), by_columns, "{algorithm} {limits}");
                assert_eq!(row.bytes(), bytes, "{algorithm} {limits}");
            }
        }
    }

    #[test]
    fn what_has_no_place_in_columns_stays_as_it_is() {
        let rate = [0_u8; 20];
        let mut many = vec![1, Algorithm::FixedWindow.number(), 5];
        for _ in 0..=RATES {
            many.extend(&rate);
        }
        let far = [&[1, Algorithm::TokenBucket.number(), 1][..], &[0xff; 28]].concat();
        let short = vec![1, Algorithm::TokenBucket.number(), 1, 0];
        for bytes in [vec![], vec![9], b"no state".to_vec(), many, far, short] {
            let row = Row::of(&bytes);
            assert_eq!((&row.state, row.rates.len()), (&bytes, 0));
            assert_eq!(row.bytes(), bytes);
        }
    }

    #[test]
    fn what_nobody_made_is_no_state() {
        let rate = |period, w, r, o| Row {
            state: Vec::new(),
            algorithm: Some(Algorithm::Gcra.number().into()),
            rates: vec![Rate { period, w, r, o }],
        };
        for row in [
            rate(-1, 0, 0, 0),
            rate(1, -1, 0, 0),
            rate(1, 0, i64::MAX, 0),
            Row {
                algorithm: None,
                ..rate(1, 0, 0, 1)
            },
            Row {
                algorithm: Some(99),
                ..rate(1, 0, 0, 1)
            },
            Row {
                algorithm: Some(Algorithm::SlidingWindow.number().into()),
                ..rate(1, 0, 0, 1)
            },
        ] {
            KeyState::decode(&row.bytes()).unwrap_err();
        }
    }
}
