//! The worst pause of a check while a million keys expire and traffic goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::fill;
use super::growth::{ALMOST_ALL, WORST, pause};
use crate::contenders::{Entry, GovernorKeyed, KeyedHashMap, Nothing, Ours, name};
use crate::keys::{BenchKey, Numbers, amount};
use crate::latencies::Latencies;
use crate::machine;
use crate::quota::Quota;
use crate::racer::Racer;
use crate::results::{Group, Results};
use crate::settings::Settings;

/// The case, in the words of the report.
pub fn case(settings: &Settings) -> String {
    format!("while {} keys expire", amount(keys(settings)))
}

fn keys(settings: &Settings) -> u32 {
    if settings.quick { 100_000 } else { 1_000_000 }
}

/// Keys that are in use all the time.
const BUSY: u32 = 100_000;

/// How many keys of the traffic are made at once, between timed checks.
const BATCH: usize = 1 << 12;

/// How often expired keys are forgotten, where that is the caller's task.
const FORGET_EVERY: Duration = Duration::from_millis(500);

pub fn run(settings: &Settings, results: &mut Results) {
    let case = case(settings);
    if !settings.wants(Group::Pauses, &case) {
        return;
    }
    let entries = [
        Entry::<String>::of::<Ours>(name::OURS),
        Entry::of::<GovernorKeyed<String>>(name::GOVERNOR_DASHMAP),
        Entry::of::<KeyedHashMap<String>>(name::GOVERNOR_HASHMAP),
        Entry::of::<Nothing>(name::NOTHING),
    ];
    let mut worst = vec![Vec::new(); entries.len()];
    let mut almost_all = worst.clone();
    for round in 0..settings.rounds.min(3) {
        for turn in 0..entries.len() {
            let index = (turn + round) % entries.len();
            let mut latencies = one(settings, &entries[index]);
            worst[index].push(latencies.worst() as f64 / 1e3);
            almost_all[index].push(latencies.all_but_one_in(10_000) as f64 / 1e3);
        }
    }
    for (entry, (worst, almost_all)) in entries.iter().zip(worst.into_iter().zip(almost_all)) {
        results.note(Group::Pauses, &pause(&case, WORST), entry.name, worst);
        results.note(
            Group::Pauses,
            &pause(&case, ALMOST_ALL),
            entry.name,
            almost_all,
        );
    }
}

fn one(settings: &Settings, entry: &Entry<String>) -> Latencies {
    let keys = keys(settings);
    let span = Duration::from_millis(if settings.quick { 300 } else { 2_000 });
    // The traffic brings about as many new keys as there were: where there is a bound, they fit into
    // it if those that expired make room.
    let racer = (entry.make)(Quota::Brief, (keys + BUSY) as usize);
    fill(&*racer, keys);
    thread::sleep(2 * Quota::Brief.one_per());
    let mut latencies = Latencies::new();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (over, racer) = (&over, &*racer);
        scope.spawn(move || {
            machine::pin_to(1);
            while !over.load(Ordering::Relaxed) && racer.forget_expired() {
                thread::sleep(FORGET_EVERY);
            }
        });
        traffic(racer, keys, span, &mut latencies);
        over.store(true, Ordering::Relaxed);
    });
    latencies
}

/// Half of the checks on keys in use, a quarter on keys that have expired, a quarter on new ones.
fn traffic(racer: &dyn Racer<String>, keys: u32, span: Duration, latencies: &mut Latencies) {
    let mut numbers = Numbers::new(1);
    let mut fresh = keys + BUSY;
    let end = Instant::now() + span;
    while Instant::now() < end {
        let batch: Vec<String> = (0..BATCH)
            .map(|place| {
                String::number(match place % 4 {
                    0 => numbers.below(keys),
                    1 => {
                        fresh += 1;
                        fresh
                    }
                    _ => keys + numbers.below(BUSY),
                })
            })
            .collect();
        racer.time_each(&batch, true, latencies);
    }
}
