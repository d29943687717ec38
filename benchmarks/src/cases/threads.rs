//! Two threads against one, in millions of decisions a second.

use super::fill;
use super::keyed::{answer, quota};
use crate::contenders::{
    Entry, GovernorDirect, GovernorKeyed, KeyedHashMap, LeakyBucket, Ours, OursDirect, Published,
    Trypema, name,
};
use crate::keys::{BenchKey, Numbers, amount};
use crate::racer::{Racer, Round};
use crate::results::{Group, Lane, Results};
use crate::settings::Settings;

/// What the lanes of one and two threads are called.
pub fn lane(contender: &str, threads: usize) -> String {
    format!("{contender}, {threads}")
}

/// The case in which each thread has so many keys of its own.
pub fn distinct(keys: u32, allowed: bool) -> String {
    let answer = answer(allowed);
    format!("distinct keys, {} for each thread, {answer}", amount(keys))
}

/// The case of one key for all.
pub fn hot(allowed: bool) -> String {
    format!("one hot key, {}", answer(allowed))
}

/// The case without keys.
pub fn direct(allowed: bool) -> String {
    format!("direct, {}", answer(allowed))
}

/// The keys of each thread, from its own part of them.
fn sequences<K: BenchKey>(keys: u32, length: usize) -> [Vec<K>; 2] {
    [0, 1].map(|thread| {
        let mut numbers = Numbers::new(u64::from(thread));
        (0..length)
            .map(|_| K::number(thread * keys + numbers.below(keys)))
            .collect()
    })
}

pub fn run(settings: &Settings, results: &mut Results) {
    for allowed in [true, false] {
        for keys in [1_000, 100_000] {
            let case = distinct(keys, allowed);
            if !settings.wants(Group::Threads, &case) {
                continue;
            }
            let (length, repeats) = settings.decisions(keys);
            let sequences = sequences::<String>(keys, length);
            let rounds = [0, 1].map(|thread| Round {
                keys: &sequences[thread],
                repeats,
                allowed,
            });
            race(
                settings,
                results,
                &case,
                &keyed(),
                2 * keys,
                rounds,
                &|racer| fill(racer, 2 * keys),
            );
        }
        let (length, repeats) = settings.decisions(1);
        let case = hot(allowed);
        if settings.wants(Group::Threads, &case) {
            let keys = vec![String::number(0); length];
            let round = Round {
                keys: &keys,
                repeats,
                allowed,
            };
            race(
                settings,
                results,
                &case,
                &keyed(),
                1,
                [round; 2],
                &|racer| fill(racer, 1),
            );
        }
        let case = direct(allowed);
        if settings.wants(Group::Threads, &case) {
            let entries = [
                Entry::of::<OursDirect>(name::OURS),
                Entry::of::<GovernorDirect>(name::GOVERNOR),
                Entry::of::<Published>(name::PUBLISHED),
                Entry::of::<LeakyBucket>(name::LEAKY_BUCKET),
            ];
            let keys = vec![(); length];
            let round = Round {
                keys: &keys,
                repeats,
                allowed,
            };
            let once = Round {
                keys: &[()],
                repeats: 1,
                allowed: true,
            };
            race(
                settings,
                results,
                &case,
                &entries,
                1,
                [round; 2],
                &|racer| {
                    racer.time(once);
                },
            );
        }
    }
}

fn keyed() -> [Entry<String>; 4] {
    [
        Entry::of::<Ours>(name::OURS),
        Entry::of::<GovernorKeyed<String>>(name::GOVERNOR_DASHMAP),
        Entry::of::<KeyedHashMap<String>>(name::GOVERNOR_HASHMAP),
        Entry::of::<Trypema>(name::TRYPEMA),
    ]
}

fn race<K: Clone + Send + Sync + 'static>(
    settings: &Settings,
    results: &mut Results,
    case: &str,
    entries: &[Entry<K>],
    keys: u32,
    rounds: [Round<'_, K>; 2],
    fill: &dyn Fn(&dyn Racer<K>),
) {
    let allowed = rounds[0].allowed;
    let racers: Vec<_> = entries
        .iter()
        .map(|entry| {
            let racer = (entry.make)(quota(keys, allowed), keys as usize);
            fill(&*racer);
            racer
        })
        .collect();
    let lanes = entries.iter().zip(&racers).flat_map(|(entry, racer)| {
        [1, 2].map(|threads| {
            Lane::new(lane(entry.name, threads), move || {
                let rounds = &rounds[..threads];
                let decisions: usize = rounds.iter().map(Round::decisions).sum();
                decisions as f64 / racer.time_together(rounds).as_nanos() as f64 * 1e3
            })
        })
    });
    results.race(settings, Group::Threads, case, lanes.collect());
}
