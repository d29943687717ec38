//! Each algorithm in its most obvious form: whole histories and exact fractions, no state that
//! could be wrong, and nothing shared with the code that it judges.

use super::Algorithm;
use crate::limits::{Limit, Limits};

/// One rate, with everything that it admitted.
#[derive(Clone, Debug)]
struct Rate {
    algorithm: Algorithm,
    limit: i128,
    burst: i128,
    period: i128,
    admitted: Vec<(i128, i128)>,
}

impl Rate {
    fn new(algorithm: Algorithm, limit: &Limit) -> Self {
        let rate = limit.rate();
        Self {
            algorithm,
            limit: rate.limit().into(),
            burst: limit.burst().unwrap_or(rate.limit()).into(),
            period: i128::try_from(rate.period().as_nanos()).unwrap(),
            admitted: Vec::new(),
        }
    }

    fn capacity(&self) -> i128 {
        if self.algorithm.is_bucket() {
            self.burst
        } else {
            self.limit
        }
    }

    /// What is left at that instant, in units times the period.
    fn left(&self, now: i128) -> i128 {
        match self.algorithm {
            Algorithm::TokenBucket | Algorithm::Gcra | Algorithm::LeakyBucket => {
                let full = self.burst * self.period;
                let (mut tokens, mut since) = (full, 0);
                for (at, cost) in &self.admitted {
                    tokens = full.min(tokens + (at - since) * self.limit) - cost * self.period;
                    since = *at;
                }
                full.min(tokens + (now - since) * self.limit)
            }
            Algorithm::FixedWindow => {
                let window = now / self.period;
                let used = self.used(|at| at / self.period == window);
                (self.limit - used) * self.period
            }
            Algorithm::SlidingWindow => {
                let used = self.used(|at| at > now - self.period);
                (self.limit - used) * self.period
            }
            Algorithm::SlidingWindowCounter => {
                let window = now / self.period;
                let current = self.used(|at| at / self.period == window);
                let previous = self.used(|at| at / self.period + 1 == window);
                let overlap = self.period - now % self.period;
                (self.limit - current) * self.period - previous * overlap
            }
        }
    }

    fn used(&self, counts: impl Fn(i128) -> bool) -> i128 {
        self.admitted
            .iter()
            .filter(|(at, _)| counts(*at))
            .map(|(_, cost)| cost)
            .sum()
    }
}

/// Several rates that are one decision.
#[derive(Clone, Debug)]
pub(super) struct Oracle(Vec<Rate>);

impl Oracle {
    pub(super) fn new(algorithm: Algorithm, limits: &Limits) -> Self {
        Self(
            limits
                .as_slice()
                .iter()
                .map(|limit| Rate::new(algorithm, limit))
                .collect(),
        )
    }

    pub(super) fn allows(&self, now: u64, cost: u32) -> bool {
        (0..self.0.len()).all(|rate| self.rate_allows(rate, now, cost))
    }

    pub(super) fn rate_allows(&self, rate: usize, now: u64, cost: u32) -> bool {
        let rate = &self.0[rate];
        i128::from(cost) * rate.period <= rate.left(now.into())
    }

    pub(super) fn charge(&mut self, now: u64, cost: u32) {
        for rate in &mut self.0 {
            rate.admitted.push((now.into(), cost.into()));
        }
    }

    pub(super) fn remaining(&self, rate: usize, now: u64) -> i128 {
        let rate = &self.0[rate];
        rate.left(now.into()).max(0) / rate.period
    }

    pub(super) fn is_full(&self, rate: usize, now: u64) -> bool {
        self.remaining(rate, now) == self.0[rate].capacity()
    }
}
