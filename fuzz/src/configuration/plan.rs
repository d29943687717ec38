//! A configuration, made of the fuzzer's input, and the builder that is told of it.
//!
//! Everything that is checked is checked against the [`Plan`]; another way to configure a registry
//! needs another function beside [`Plan::builder`] and no more.

use core::time::Duration;

use arbitrary::{Result, Unstructured};
use ratelimit::{
    Algorithm, Builder, Limits, ManualClock, MemoryBackend, Mode, OnError, Override, Policy,
    Registry,
};

use super::broken::Broken;
use crate::text::text;

pub(super) struct Plan {
    pub(super) backends: Vec<(String, Store)>,
    pub(super) default_backend: Option<String>,
    pub(super) overrides: Vec<(String, Change)>,
    pub(super) policies: Vec<Policy>,
    pub(super) on_error: OnError,
    pub(super) blocking_timeout: Option<Duration>,
}

/// What decides.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Memory {
        max_keys: usize,
        max_log: u32,
    },
    /// It says that it can do some things, and fails.
    Broken(Broken),
}

/// An override.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) limits: Option<Limits>,
    pub(super) burst: Option<u32>,
    pub(super) mode: Option<Mode>,
    pub(super) on_error: Option<OnError>,
    pub(super) backend: Option<String>,
}

const BACKENDS: [&str; 3] = ["memory", "redis", ""];
const POLICIES: [&str; 5] = ["login", "export", "guarded", "windowed", ""];
const RATES: [&str; 9] = [
    "3/s",
    "1/ms",
    "5/m, 7/h",
    "1/366d",
    "10000/h",
    "10001/h",
    "4294967295/5s",
    "1000000/ms",
    "2/s, 2/s, 2/s, 2/s",
];
/// The numbers at which something changes.
const NUMBERS: [u32; 9] = [0, 1, 2, 3, 10_000, 10_001, 1 << 31, u32::MAX - 1, u32::MAX];

impl Plan {
    pub(super) fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let backends = several(input, 3, |input, index| {
            let usual = ["memory", "redis", "other"][index];
            Ok((name(input, &[usual], &BACKENDS)?, store(input)?))
        })?;
        let policies = several(input, 3, |input, index| {
            let usual = ["login", "export", "other"][index];
            policy(input, usual)
        })?;
        let of_backends: Vec<_> = backends.iter().map(|(name, _)| &**name).collect();
        let of_policies: Vec<_> = policies.iter().map(Policy::name).collect();
        let default_backend = maybe(input, |input| name(input, &of_backends, &BACKENDS))?;
        let overrides = several(input, 3, |input, index| {
            let usual = of_policies.get(index..=index).unwrap_or(&POLICIES);
            let name = name(input, usual, &POLICIES)?;
            Ok((name, change(input, &of_backends)?))
        })?;
        let timeout =
            |input: &mut Unstructured<'_>| Ok(Duration::from_millis(input.int_in_range(0..=7)?));
        Ok(Self {
            default_backend,
            overrides,
            on_error: *input.choose(&OnError::ALL)?,
            blocking_timeout: maybe(input, timeout)?,
            backends,
            policies,
        })
    }

    /// The builder that is told all of it.
    pub(super) fn builder(&self, clock: &ManualClock) -> Builder {
        let mut builder = Registry::builder().on_error(self.on_error);
        for (name, store) in &self.backends {
            builder = match store {
                Store::Memory { max_keys, max_log } => {
                    let memory = MemoryBackend::builder()
                        .max_keys(*max_keys)
                        .max_log(*max_log);
                    builder.backend(name, memory.clock(clock.clone()).build())
                }
                Store::Broken(broken) => builder.backend(name, broken.clone()),
            };
        }
        if let Some(name) = &self.default_backend {
            builder = builder.default_backend(name);
        }
        for (name, change) in &self.overrides {
            builder = builder.override_policy(name, change.to_override());
        }
        for policy in &self.policies {
            builder = builder.policy(policy.clone());
        }
        match self.blocking_timeout {
            Some(timeout) => builder.blocking_timeout(timeout),
            None => builder,
        }
    }
}

impl Change {
    fn to_override(&self) -> Override {
        let mut change = Override::new();
        if let Some(limits) = self.limits {
            change = change.limits(limits);
        }
        if let Some(burst) = self.burst {
            change = change.burst(burst);
        }
        if let Some(mode) = self.mode {
            change = change.mode(mode);
        }
        if let Some(on_error) = self.on_error {
            change = change.on_error(on_error);
        }
        if let Some(name) = &self.backend {
            change = change.backend(name);
        }
        change
    }
}

fn maybe<T>(
    input: &mut Unstructured<'_>,
    make: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    input.ratio(1, 2)?.then(|| make(input)).transpose()
}

fn several<T>(
    input: &mut Unstructured<'_>,
    most: usize,
    make: impl Fn(&mut Unstructured<'_>, usize) -> Result<T>,
) -> Result<Vec<T>> {
    let count = input.int_in_range(0..=most)?;
    (0..count).map(|index| make(input, index)).collect()
}

/// Mostly one of the usual names, so that plans without a fault are not rare; else a known one, or
/// any.
fn name(input: &mut Unstructured<'_>, usual: &[&str], known: &[&str]) -> Result<String> {
    match input.int_in_range(0..=15)? {
        14 => Ok((*input.choose(known)?).to_owned()),
        15 => text(input, 8),
        _ if usual.is_empty() => Ok(known[0].to_owned()),
        _ => Ok((*input.choose(usual)?).to_owned()),
    }
}

/// A number at which something changes, or any.
pub(super) fn number(input: &mut Unstructured<'_>) -> Result<u32> {
    match input.int_in_range(0..=NUMBERS.len())? {
        index if index < NUMBERS.len() => Ok(NUMBERS[index]),
        _ => input.arbitrary(),
    }
}

fn store(input: &mut Unstructured<'_>) -> Result<Store> {
    if input.ratio(1, 4)? {
        return Ok(Store::Broken(Broken::new(input)?));
    }
    let max_keys = match input.int_in_range(0..=5)? {
        0 => 0,
        1 => 1,
        2 => usize::MAX,
        3 => input.arbitrary()?,
        4 => input.arbitrary::<u16>()?.into(),
        _ => MemoryBackend::DEFAULT_MAX_KEYS,
    };
    let max_log = match input.ratio(1, 2)? {
        true => number(input)?,
        false => 10_000,
    };
    Ok(Store::Memory { max_keys, max_log })
}

/// Limits by a text, where that is one, perhaps with bursts that fit them.
fn limits(input: &mut Unstructured<'_>) -> Result<Limits> {
    let text = match input.int_in_range(0..=RATES.len())? {
        index if index < RATES.len() => RATES[index].to_owned(),
        _ => text(input, 24)?,
    };
    let limits: Limits = text
        .parse()
        .or_else(|_| RATES[0].parse())
        .expect("it is a rate");
    let bursts = several(input, 2, |input, _| number(input))?;
    Ok(limits.with_bursts(&bursts).unwrap_or(limits))
}

fn policy(input: &mut Unstructured<'_>, usual: &str) -> Result<Policy> {
    let name = name(input, &[usual], &POLICIES)?;
    let algorithm = *input.choose(&Algorithm::ALL)?;
    let policy = Policy::named(name.into(), algorithm, limits(input)?);
    let policy = policy.with_mode(mode(input)?);
    Ok(
        match maybe(input, |input| Ok(*input.choose(&OnError::ALL)?))? {
            Some(on_error) => policy.with_on_error(on_error),
            None => policy,
        },
    )
}

/// Mostly the one that decides.
fn mode(input: &mut Unstructured<'_>) -> Result<Mode> {
    Ok(match input.int_in_range(0..=7)? {
        0 => Mode::Shadow,
        1 => Mode::Off,
        _ => Mode::Enforce,
    })
}

fn change(input: &mut Unstructured<'_>, backends: &[&str]) -> Result<Change> {
    Ok(Change {
        limits: maybe(input, limits)?,
        burst: maybe(input, number)?,
        mode: maybe(input, mode)?,
        on_error: maybe(input, |input| Ok(*input.choose(&OnError::ALL)?))?,
        backend: maybe(input, |input| name(input, backends, &BACKENDS))?,
    })
}
