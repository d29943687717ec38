//! The machine that everything is measured on, and its cores.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use core_affinity::CoreId;

/// The cores that this process may use, asked before a thread keeps to one of them.
fn cores() -> &'static [CoreId] {
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Keeps this thread on one core: the measuring one on the first, a second one on the next.
pub fn pin_to(index: usize) {
    let cores = cores();
    if let Some(core) = cores.get(index % cores.len().max(1)) {
        core_affinity::set_for_current(*core);
    }
}

/// What the report says about the machine.
pub fn description() -> Vec<(&'static str, String)> {
    let first = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
    };
    let memory = first("/proc/meminfo", "MemTotal");
    let kilobytes: u64 = memory
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    vec![
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("processor", first("/proc/cpuinfo", "model name")),
        ("cores", cores().len().to_string()),
        ("memory", format!("{} GiB", kilobytes >> 20)),
        ("kernel", output("uname", &["-sr"])),
        (
            "huge pages",
            fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
                .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned()),
        ),
        ("Rust", output("rustc", &["--version"])),
        ("revision", revision()),
    ]
}

fn revision() -> String {
    let directory = env!("CARGO_MANIFEST_DIR");
    let commit = output("git", &["-C", directory, "rev-parse", "--short=12", "HEAD"]);
    let changes = output(
        "git",
        &[
            "-C",
            directory,
            "status",
            "--porcelain",
            "--untracked-files=no",
        ],
    );
    if changes.is_empty() {
        commit
    } else {
        format!("{commit}, with changes")
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The bytes of this process that are in memory.
pub fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    pages * 4096
}
