//! One decision, with and without a key, over the number of keys.

use super::{fill, nanos_each};
use crate::contenders::{self, Entry};
use crate::keys::{BenchKey, Spread, amount, sequence};
use crate::quota::Quota;
use crate::racer::{Racer, Round};
use crate::results::{Group, Lane, Results};
use crate::settings::Settings;

/// Contenders without keys.
pub fn direct(settings: &Settings, results: &mut Results) {
    let (length, repeats) = settings.decisions(1);
    let units = vec![(); length];
    for allowed in [true, false] {
        let case = answer(allowed);
        if !settings.wants(Group::Direct, case) {
            continue;
        }
        let entries = contenders::direct();
        let racers: Vec<_> = entries
            .iter()
            .map(|entry| {
                let racer = (entry.make)(quota(1, allowed), 1);
                let once = Round {
                    keys: &[()],
                    repeats: 1,
                    allowed: true,
                };
                racer.time(once);
                (entry, racer)
            })
            .collect();
        race(
            settings,
            results,
            Group::Direct,
            case,
            &racers,
            &units,
            repeats,
            allowed,
        );
    }
}

/// The name of a case.
pub fn case(keys: u32, spread: Spread, allowed: bool) -> String {
    let answer = answer(allowed);
    if keys == 1 {
        return format!("1 key, {answer}");
    }
    format!("{} keys, {}, {answer}", amount(keys), spread.name())
}

/// The ways to use so many keys.
pub fn spreads(keys: u32) -> &'static [Spread] {
    if keys == 1 {
        &Spread::ALL[..1]
    } else {
        &Spread::ALL
    }
}

/// Contenders with keys of one type. A table is made once for each number of keys and answer.
pub fn keyed<K: BenchKey>(
    settings: &Settings,
    results: &mut Results,
    group: Group,
    entries: &[Entry<K>],
) {
    for &keys in settings.key_counts() {
        for allowed in [true, false] {
            let wanted: Vec<_> = spreads(keys)
                .iter()
                .filter(|spread| settings.wants(group, &case(keys, **spread, allowed)))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let racers: Vec<_> = entries
                .iter()
                .filter(|entry| keys <= entry.most_keys)
                .map(|entry| {
                    let racer = (entry.make)(quota(keys, allowed), keys as usize);
                    fill(&*racer, keys);
                    (entry, racer)
                })
                .collect();
            for spread in wanted {
                let (length, repeats) = settings.decisions(keys);
                let used = sequence(*spread, keys, length);
                let case = case(keys, *spread, allowed);
                race(
                    settings, results, group, &case, &racers, &used, repeats, allowed,
                );
            }
        }
    }
}

pub fn answer(allowed: bool) -> &'static str {
    if allowed { "allow" } else { "deny" }
}

pub fn quota(keys: u32, allowed: bool) -> Quota {
    if allowed {
        Quota::allow(keys)
    } else {
        Quota::Deny
    }
}

/// A contender whose keys were used before.
type Started<'a, K> = (&'a Entry<K>, Box<dyn Racer<K>>);

#[allow(clippy::too_many_arguments)] // all of them are what makes a case
fn race<K: Send + Sync>(
    settings: &Settings,
    results: &mut Results,
    group: Group,
    case: &str,
    racers: &[Started<'_, K>],
    keys: &[K],
    repeats: usize,
    allowed: bool,
) {
    let lanes = racers.iter().map(|(entry, racer)| {
        let keys = &keys[..keys.len() / entry.share];
        let round = Round {
            keys,
            repeats,
            allowed,
        };
        Lane::new(entry.name, move || nanos_each(&**racer, round))
    });
    results.race(settings, group, case, lanes.collect());
}
