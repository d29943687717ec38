//! Instructions of one decision, counted by callgrind: each contender's loop in a process of its
//! own, of which only the loop is counted.

use std::process::Command;

use super::{calls, fill};
use crate::cases::keyed::answer;
use crate::contenders::{Entry, GovernorKeyed, Nothing, Ours, OursByCheck, name};
use crate::keys::{Spread, sequence};
use crate::quota::Quota;
use crate::racer::{Racer, Round};
use crate::results::{Group, Results};
use crate::settings::Settings;

const KEYS: u32 = 1_000;
const DECISIONS: usize = 20_000;

fn entries() -> Vec<Entry<String>> {
    let mut entries = vec![
        Entry::of::<Nothing>(name::NOTHING),
        Entry::of::<Ours>(name::OURS),
        Entry::of::<OursByCheck>(name::OURS_BY_CHECK),
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
        .arg("--toggle-collect=*loop_that_is_counted*")
        .arg(program)
        .args(["count", contender, answer])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "counting {contender} failed: {text}"
    );
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    let instructions: f64 = line.rsplit(' ').next()?.parse().ok()?;
    assert!(instructions > 0.0, "callgrind has not seen the loop");
    Some(instructions)
}

/// What that process does.
pub fn child(contender: &str, asked: &str) {
    let allowed = asked == answer(true);
    let quota = if allowed {
        Quota::AllowFew
    } else {
        Quota::Deny
    };
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
    let round = Round {
        keys: &keys,
        repeats: 1,
        allowed,
    };
    racer.time(round);
    loop_that_is_counted(&*racer, round);
}

/// Callgrind counts from the entry of the function of this name to its end.
#[inline(never)]
fn loop_that_is_counted(racer: &dyn Racer<String>, round: Round<'_, String>) {
    racer.time(round);
}
