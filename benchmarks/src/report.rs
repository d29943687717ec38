//! `BENCHMARKS.md`: the tables.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cases::threads;
use crate::machine;
use crate::results::{Group, Outcome, Results};
use crate::settings::Settings;
use crate::targets::{self, Bound, Target};

const COMMAND: &str = "cargo run --release --manifest-path benchmarks/Cargo.toml";

const LOCK: &str = include_str!("../Cargo.lock");

/// The whole report.
pub fn markdown(results: &Results, settings: &Settings, words: &[&str], took: Duration) -> String {
    let mut out = String::from("# Benchmarks\n\n");
    head(&mut out, settings, words, took);
    target_table(&mut out, &targets::all(results, settings));
    if settings.is_complete() {
        out.push_str(
            "\n![nanoseconds per decision over the number of keys](benchmarks/keys.svg)\n",
        );
    }
    plain_table(
        &mut out,
        results,
        Group::Floor,
        "What the machine takes (ns)",
        FLOOR,
        1,
    );
    for (group, title, note) in [
        (
            Group::KeyedByString,
            "One decision, `String` keys (ns)",
            KEYED,
        ),
        (
            Group::KeyedByU64,
            "One decision, `u64` keys (ns)",
            OTHER_KEYS,
        ),
        (
            Group::KeyedByIpAddr,
            "One decision, `IpAddr` keys (ns)",
            OTHER_KEYS,
        ),
        (Group::Direct, "One decision without a key (ns)", DIRECT),
    ] {
        times_table(&mut out, results, group, title, note);
    }
    threads_table(&mut out, results);
    plain_table(&mut out, results, Group::Memory, "Bytes a key", MEMORY, 1);
    plain_table(&mut out, results, Group::Pauses, "Pauses (µs)", PAUSES, 1);
    plain_table(
        &mut out,
        results,
        Group::Algorithms,
        "Our algorithms (ns)",
        ALGORITHMS,
        1,
    );
    plain_table(
        &mut out,
        results,
        Group::Calls,
        "A guarded call, end to end (ns)",
        CALLS,
        1,
    );
    plain_table(
        &mut out,
        results,
        Group::Instructions,
        "Instructions of one call",
        INSTRUCTIONS,
        1,
    );
    plain_table(
        &mut out,
        results,
        Group::Allocations,
        "Allocations of one call",
        "",
        3,
    );
    out
}

fn head(out: &mut String, settings: &Settings, words: &[&str], took: Duration) {
    let _ = writeln!(
        out,
        "Made by `{COMMAND}{}{}` in {} s; [benchmarks/](benchmarks/README.md) says what is measured and how.\n",
        if words.is_empty() { "" } else { " -- " },
        words.join(" "),
        took.as_secs()
    );
    if !settings.is_complete() {
        out.push_str(
            "**This run is not complete**: its numbers are of use for trying things out only.\n\n",
        );
    }
    out.push_str("| | |\n|---|---|\n");
    for (name, value) in machine::description() {
        let _ = writeln!(out, "| {name} | {value} |");
    }
    let versions = [
        "governor",
        "ratelimit",
        "leaky-bucket",
        "trypema",
        "limitador",
    ]
    .map(|name| format!("{name} {}", versions(name).join(" (ours) and ")));
    let _ = writeln!(out, "| versions | {} |", versions.join(", "));
    out.push_str("| build | release, `lto = \"fat\"`, `codegen-units = 1`, no debug information; the system's allocator |\n");
    let _ = writeln!(
        out,
        "\nEach cell is the median of {} rounds (least–most); the contenders of a row take turns, in another order \
         each round, over the same keys. × is our median over the peer's: below 1, ours is faster. Every answer was \
         verified to be what its row says.",
        settings.rounds
    );
}

/// The versions of a package in the lock file.
fn versions(package: &str) -> Vec<&'static str> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line == name {
            let version = lines.next().and_then(|line| line.split('"').nth(1));
            found.extend(version);
        }
    }
    found
}

fn target_table(out: &mut String, targets: &[Target]) {
    out.push_str(
        "\n## Targets\n\n| what | target | measured, at its worst | |\n|---|---|---|---|\n",
    );
    for target in targets {
        let bound = match target.bound {
            Bound::AtMost => "at most",
            Bound::AtLeast => "at least",
        };
        let wanted = quantity(target.wanted, target.unit);
        let _ = write!(out, "| {} | {bound} {wanted} |", target.what);
        let Some((number, at)) = target.worst() else {
            out.push_str(" not measured | |\n");
            continue;
        };
        let all = target.measured.len();
        let met = target
            .measured
            .iter()
            .filter(|(number, _)| target.is_met_by(*number))
            .count();
        let verdict = if met == all {
            "met".into()
        } else {
            format!("**not met** ({met} of {all} are)")
        };
        let _ = writeln!(
            out,
            " {} ({at}) | {verdict} |",
            quantity(*number, target.unit)
        );
    }
}

fn quantity(number: f64, unit: &str) -> String {
    let digits = if unit == "×" { 2 } else { 1 };
    let text = format!("{number:.digits$}");
    let text = if unit == "×" {
        text
    } else {
        text.trim_end_matches(".0").to_owned()
    };
    format!("{text}{unit}")
}

fn spread(outcome: &Outcome, digits: usize) -> String {
    let median = outcome.median();
    if outcome.rounds.len() == 1 {
        return format!("{median:.digits$}");
    }
    let (least, most) = (outcome.least(), outcome.most());
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}

fn heading(out: &mut String, title: &str, note: &str) {
    let _ = write!(out, "\n## {title}\n\n");
    if !note.is_empty() {
        let _ = write!(out, "{note}\n\n");
    }
}

fn columns(out: &mut String, names: &[&str]) {
    let _ = writeln!(out, "| | {} |", names.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(names.len()));
}

/// A table whose first column is ours, with the ratio of ours to each of the others.
fn times_table(out: &mut String, results: &Results, group: Group, title: &str, note: &str) {
    let contenders = results.contenders(group);
    let Some((ours, _)) = contenders.split_first() else {
        return;
    };
    heading(out, title, note);
    columns(out, &contenders);
    for case in results.cases(group) {
        let _ = write!(out, "| {case} |");
        let own = results.find(group, case, ours).map(Outcome::median);
        for contender in &contenders {
            match (results.find(group, case, contender), own) {
                (Some(outcome), Some(own)) if contender != ours => {
                    let ratio = own / outcome.median();
                    let _ = write!(out, " {} **{ratio:.2}×** |", spread(outcome, 1));
                }
                (Some(outcome), _) => {
                    let _ = write!(out, " {} |", spread(outcome, 1));
                }
                (None, _) => out.push_str(" – |"),
            }
        }
        out.push('\n');
    }
}

fn plain_table(
    out: &mut String,
    results: &Results,
    group: Group,
    title: &str,
    note: &str,
    digits: usize,
) {
    let contenders = results.contenders(group);
    if contenders.is_empty() {
        return;
    }
    heading(out, title, note);
    columns(out, &contenders);
    for case in results.cases(group) {
        let _ = write!(out, "| {case} |");
        for contender in &contenders {
            let outcome = results.find(group, case, contender);
            let cell = outcome.map_or_else(|| "–".into(), |outcome| spread(outcome, digits));
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
}

fn threads_table(out: &mut String, results: &Results) {
    let lanes = results.contenders(Group::Threads);
    if lanes.is_empty() {
        return;
    }
    heading(
        out,
        "Two threads against one (million decisions a second, all threads together)",
        THREADS,
    );
    columns(out, &["contender", "1 thread", "2 threads", "speed-up"]);
    for case in results.cases(Group::Threads) {
        for contender in lanes.iter().filter_map(|lane| lane.strip_suffix(", 1")) {
            let of =
                |threads| results.find(Group::Threads, case, &threads::lane(contender, threads));
            if let (Some(one), Some(two)) = (of(1), of(2)) {
                let _ = writeln!(
                    out,
                    "| {case} | {contender} | {} | {} | {:.2}× |",
                    spread(one, 1),
                    spread(two, 1),
                    two.median() / one.median()
                );
            }
        }
    }
}

const FLOOR: &str = "\
What no keyed decision on an exact clock can do without, each by itself, over and over. The last ones are loads of which each \
says where the next is, in as much memory as so many keys take here; up to a thousand keys they are in the first cache. \
[benchmarks/README.md](benchmarks/README.md#what-the-limits-are-made-of) says what follows.";

const KEYED: &str = "\
Keys of 15 bytes. Every key was used before, and none expires meanwhile: \"allow\" is a burst of 50 million and one unit a \
minute (from 100 thousand keys on, 1.5 million and one each half hour), \"deny\" one unit each 366 days. `trypema` and \
`limitador` have windows, no bursts: their \"allow\" is 10⁹ a day and as good as unlimited. Zipf means that the key of \
rank r is used with a frequency of about 1/r. `limitador` takes a map of variables for a question, which is made anew for \
each call as its users have to; it makes a twentieth of the decisions, and is left out at 10 million keys, for which it \
would need more memory than a usual machine has. `trypema` runs without its cleaning thread, and has buckets of an hour. \
`ratelimit` (the published crate) and `leaky-bucket` have no keys.";

const OTHER_KEYS: &str = "`trypema` and `limitador` have keys of text alone. Addresses are IPv4.";

const DIRECT: &str = "\
`leaky-bucket` reads no clock while it has tokens. `trypema` has no form without a key: it is asked with a constant one.";

const THREADS: &str = "\
Each thread keeps to a core of its own. A speed-up of 2 is the best there is. `limitador` is left out: it would take longer \
than everything else.";

const MEMORY: &str = "\
What a process has grown by when so many `String` keys are in, by `/proc/self/statm`, and what was asked of the allocator and not given back. \
Each contender grows in a process of its own. `limitador` holds fewer keys, as said above.";

const PAUSES: &str = "\
Single checks, timed by the processor's time stamp counter, whose reading is part of them; \"no-op\" is the same loop with no \
limiter in it: what it shows is the machine's; with new memory, it writes to 32 bytes more each time. While a table grows: new keys only. While keys expire: half of the checks are on 100 thousand keys in use, \
a quarter on keys that have expired, a quarter on new ones; a second thread calls governor's `retain_recent` each half second, ours needs none. \
Least and most are of up to 3 runs, of which each has its worst check.";

const ALGORITHMS: &str = "\
`String` keys, used uniformly. \"allow\" for the windows is 4·10⁹ in 366 days; for `sliding_window`, which keeps each admitted call, 10⁶ in a millisecond.";

const CALLS: &str = "\
The annotated function, the same function with `registry.check_blocking(…)?` by hand, and with the backend asked by hand; `String` keys.";

const INSTRUCTIONS: &str = "\
Counted by callgrind, 1 thousand `String` keys, without what the loop itself takes. There is no vDSO under valgrind, so \
that a clock that asks the system is one system call, whose instructions in the kernel do not count.";
