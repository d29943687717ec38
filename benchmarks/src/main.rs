//! This crate side by side with those that a user would pick instead: see `README.md`.

mod allocator;
mod cases;
mod contenders;
mod keys;
mod latencies;
mod machine;
mod plot;
mod quota;
mod racer;
mod report;
mod results;
mod settings;
mod targets;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use results::{Group, Results};
use settings::Settings;

const USAGE: &str = "\
usage: ratelimit-benchmarks [--quick] [--only TEXT] [--rounds N] [--output FILE]

  --quick        a run of less than a minute that shows that everything works
  --only TEXT    the cases whose name contains the text, such as \"keyed by u64\", \"1 key\",
                 \"threads\", \"pauses\", \"instructions\"
  --rounds N     how often each contender is measured, default 5; odd
  --output FILE  where the report goes; the plot goes beside it, as keys.svg

A complete run writes BENCHMARKS.md and benchmarks/keys.svg; others print the report.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    machine::pin_to(0);
    match words[..] {
        // How this program starts itself.
        ["grow", contender, keys] => {
            let keys = keys.parse().expect("the parent passes a number");
            cases::growth::child(contender, keys);
            ExitCode::SUCCESS
        }
        ["count", contender, answer] => {
            cases::instructions::child(contender, answer);
            ExitCode::SUCCESS
        }
        _ => {
            if let Some(settings) = settings(&words) {
                return run(&settings, &words);
            }
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn settings(words: &[&str]) -> Option<Settings> {
    let mut settings = Settings {
        rounds: Settings::ROUNDS,
        quick: false,
        only: None,
        output: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--quick" => {
                settings.quick = true;
                settings.rounds = 3;
            }
            "--only" => settings.only = Some((*words.next()?).to_owned()),
            "--output" => settings.output = Some((*words.next()?).to_owned()),
            "--rounds" => {
                let rounds: usize = words.next()?.parse().ok()?;
                // An odd number has a median that was measured.
                settings.rounds = (rounds % 2 == 1).then_some(rounds)?;
            }
            _ => return None,
        }
    }
    Some(settings)
}

fn run(settings: &Settings, words: &[&str]) -> ExitCode {
    let start = Instant::now();
    let mut results = Results::default();
    measure(settings, &mut results);
    let took = start.elapsed();
    let report = report::markdown(&results, settings, words, took);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let root = Path::new(root);
    let (output, plot) = match (&settings.output, settings.is_complete()) {
        (Some(output), _) => {
            let output = PathBuf::from(output);
            let plot = output.with_file_name("keys.svg");
            (output, plot)
        }
        (None, true) => (root.join("BENCHMARKS.md"), root.join("benchmarks/keys.svg")),
        (None, false) => {
            println!("{report}");
            return ExitCode::SUCCESS;
        }
    };
    let written =
        fs::write(&output, report).and_then(|()| fs::write(plot, plot::svg(&results, settings)));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} cannot be written: {error}", output.display());
            ExitCode::FAILURE
        }
    }
}

fn measure(settings: &Settings, results: &mut Results) {
    // First what needs memory that nobody had before.
    cases::growth::run(settings, results);
    cases::pauses::run(settings, results);
    cases::floor::run(settings, results);
    cases::keyed::direct(settings, results);
    let by_string = contenders::keyed_by_string();
    cases::keyed::keyed(settings, results, Group::KeyedByString, &by_string);
    let by_u64 = contenders::keyed::<u64>();
    cases::keyed::keyed(settings, results, Group::KeyedByU64, &by_u64);
    let by_address = contenders::keyed::<IpAddr>();
    cases::keyed::keyed(settings, results, Group::KeyedByIpAddr, &by_address);
    cases::threads::run(settings, results);
    cases::algorithms::run(settings, results);
    cases::calls::run(settings, results);
    cases::instructions::run(settings, results);
}
