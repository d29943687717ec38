//! A table that grows from nothing to many keys: the worst pause of a check meanwhile, and the
//! bytes that each key takes in the end. Each contender does this in a process of its own, as
//! memory that another one gave back would hide what this one takes.

use std::process::Command;

use super::CHUNK;
use crate::allocator;
use crate::contenders::{self, Entry, NewMemory, Nothing, name};
use crate::keys::BenchKey;
use crate::latencies::Latencies;
use crate::machine;
use crate::quota::Quota;
use crate::racer::Round;
use crate::results::{Group, Results};
use crate::settings::Settings;

/// What is noted of pauses, in microseconds.
pub const WORST: &str = "worst";
pub const ALMOST_ALL: &str = "all but one in 10,000";

/// The name of a case of pauses.
pub fn pause(what: &str, which: &str) -> String {
    format!("{what}: {which}")
}

pub const GROWTH: &str = "while a table grows from nothing";
pub const RESIDENT: &str = "resident";
pub const ASKED: &str = "asked of the allocator";

fn entries() -> Vec<Entry<String>> {
    let mut entries = contenders::keyed_by_string();
    entries.push(Entry::of::<Nothing>(name::NOTHING));
    entries.push(Entry::of::<NewMemory>(name::NEW_MEMORY));
    entries
}

/// What the process of one contender finds.
struct Found {
    /// Nanoseconds.
    worst: f64,
    almost_all: f64,
    /// Bytes of all keys.
    resident: f64,
    asked: f64,
}

pub fn run(settings: &Settings, results: &mut Results) {
    if !settings.wants(Group::Pauses, GROWTH) && !settings.wants(Group::Memory, "bytes a key") {
        return;
    }
    let entries = entries();
    let mut found: Vec<Vec<Found>> = entries.iter().map(|_| Vec::new()).collect();
    let rounds = settings.rounds.min(3);
    for round in 0..rounds {
        for turn in 0..entries.len() {
            let index = (turn + round) % entries.len();
            let entry = &entries[index];
            // Those with which no target compares ours are grown but once.
            let repeated = [name::OURS, name::GOVERNOR_DASHMAP];
            if round == 0 || repeated.contains(&entry.name) || is_no_limiter(entry) {
                found[index].push(in_a_process(entry, keys_of(settings, entry)));
            }
        }
    }
    for (entry, found) in entries.iter().zip(&found) {
        let keys = keys_of(settings, entry);
        let each = |number: fn(&Found) -> f64, by: f64| -> Vec<f64> {
            found.iter().map(|found| number(found) / by).collect()
        };
        let name = if keys == settings.most_keys() {
            entry.name.to_owned()
        } else {
            format!("{} ({} keys)", entry.name, crate::keys::amount(keys))
        };
        let mut pauses = |which, numbers| {
            results.note(Group::Pauses, &pause(GROWTH, which), &name, numbers);
        };
        pauses(WORST, each(|found| found.worst, 1e3));
        pauses(ALMOST_ALL, each(|found| found.almost_all, 1e3));
        if !is_no_limiter(entry) {
            let keys = f64::from(keys);
            results.note(
                Group::Memory,
                RESIDENT,
                &name,
                each(|found| found.resident, keys),
            );
            results.note(Group::Memory, ASKED, &name, each(|found| found.asked, keys));
        }
    }
}

fn is_no_limiter(entry: &Entry<String>) -> bool {
    [name::NOTHING, name::NEW_MEMORY].contains(&entry.name)
}

fn keys_of(settings: &Settings, entry: &Entry<String>) -> u32 {
    settings.most_keys().min(entry.most_keys)
}

fn in_a_process(entry: &Entry<String>, keys: u32) -> Found {
    let program = std::env::current_exe().expect("a program knows where it is");
    let output = Command::new(program)
        .args(["grow", entry.name, &keys.to_string()])
        .output()
        .expect("the program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [worst, almost_all, resident, asked] = numbers[..] else {
        let error = String::from_utf8_lossy(&output.stderr);
        panic!("growing {} failed: {error}", entry.name);
    };
    Found {
        worst,
        almost_all,
        resident,
        asked,
    }
}

/// What that process does.
pub fn child(contender: &str, keys: u32) {
    let entries = entries();
    let entry = entries
        .iter()
        .find(|entry| entry.name == contender)
        .expect("the parent knows the names");
    let mut latencies = Latencies::new();
    let mut chunk: Vec<String> = (0..CHUNK).map(String::number).collect();
    // The code, the allocator and the page tables of the loop itself are warm before it starts.
    (entry.make)(Quota::AllowMany, CHUNK as usize).time(Round {
        keys: &chunk,
        repeats: 1,
        allowed: true,
    });
    let before = machine::resident();
    let mut resident = 0;
    let counted = allocator::counted(|| {
        let racer = (entry.make)(Quota::AllowMany, keys as usize);
        for start in (0..keys).step_by(CHUNK as usize) {
            let end = keys.min(start + CHUNK);
            for (place, number) in chunk.iter_mut().zip(start..end) {
                // In place, so that the memory of the keys is the same all the time.
                place.clear();
                place.push_str(&String::number(number));
            }
            racer.time_each(&chunk[..(end - start) as usize], true, &mut latencies);
        }
        resident = machine::resident().saturating_sub(before);
        // What it keeps is not to count as given back.
        std::mem::forget(racer);
    });
    let worst = latencies.worst();
    let almost_all = latencies.all_but_one_in(10_000);
    println!("{worst} {almost_all} {resident} {}", counted.kept);
}
