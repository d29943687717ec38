//! Instructions of one decision, counted by callgrind: each contender's loop in a process of its
//! own, of which only the loop is counted.

use std::process::Command;

use super::{calls, fill};
use crate::contenders::{Entry, GovernorKeyed, Nothing, Ours, name};
use crate::keys::{Spread, sequence};
use crate::quota::Quota;
use crate::racer::{Racer, Round};
use crate::results::{Group, Results};
use crate::settings::Settings;
use crate::cases::keyed::answer;

const KEYS: u32 = 1_000;
const DECISIONS: usize = 20_000;

fn entries() -> Vec<Entry<String>> {
    let mut entries = vec![
        Entry::of::<Nothing>(name::NOTHING),
        Entry::of::<Ours>(name::OURS),
    ];
    entries.extend(calls::entries());
    entries.push(Entry::of::<GovernorKeyed<String>>(name::GOVERNOR_DASHMAP));
    entries
}

pub fn run(settings: &Settings, results: &mut Results) {
    for allowed in [true, false] {
        let case = answer(allowed);
        if !settings.wants(Group::Instructions, case) {
            continue;
        }
        // What the loop takes by itself, which is taken off the others.
        let mut empty = 0.0;
        for entry in entries() {
            let Some(instructions) = under_callgrind(entry.name, case) else {
                eprintln!("instructions are left out: valgrind cannot be run");
                return;
            };
            let each = instructions / DECISIONS as f64;
            if entry.name == name::NOTHING {
                empty = each;
            } else {
                results.note(Group::Instructions, case, entry.name, vec![each - empty]);
            }
        }
    }
}

fn under_callgrind(contender: &str, answer: &str) -> Option<f64> {
    let program = std::env::current_exe().expect("a program knows where it is");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=ratelimit_benchmarks_counted")
        .arg(program)
        .args(["count", contender, answer])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "counting {contender} failed: {text}");
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// What that process does.
pub fn child(contender: &str, asked: &str) {
    let allowed = asked == answer(true);
    let quota = if allowed { Quota::AllowFew } else { Quota::Deny };
    let entries = entries();
    let entry = entries
        .iter()
        .find(|entry| entry.name == contender)
        .expect("the parent knows the names");
    let racer = (entry.make)(quota, KEYS as usize);
    if contender != name::NOTHING {
        fill(&*racer, KEYS);
    }
    let keys: Vec<String> = sequence(Spread::Uniform, KEYS, DECISIONS);
    let round = Round { keys: &keys, repeats: 1, allowed };
    racer.time(round);
    ratelimit_benchmarks_counted(&*racer, round);
}

/// The name that callgrind knows: it counts from the entry of this function to its end.
#[allow(unsafe_code)] // a name that is not mangled is unique by its length
#[unsafe(no_mangle)]
#[inline(never)]
fn ratelimit_benchmarks_counted(racer: &dyn Racer<String>, round: Round<'_, String>) {
    racer.time(round);
}
