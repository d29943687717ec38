//! Several processes that share a budget, with clocks that need not agree.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use ratelimit_core::{Algorithm, Backend, Check, Join, KeyBuf, Policy};

/// How much each algorithm admits, whoever asks.
pub(crate) const LIMIT: u32 = 500;

/// Where the other processes find the server.
pub(crate) const SERVER: &str = "RATELIMIT_TEST_SERVER";

/// The server that this process is to ask, if it is one of the others.
pub(crate) fn server() -> Option<String> {
    std::env::var(SERVER).ok()
}

/// Takes all that it can get, in several tasks at once, and says how much that was of each algorithm.
pub(crate) async fn take(backend: Arc<dyn Backend>) -> Vec<u32> {
    let mut taken = Vec::new();
    for algorithm in Algorithm::ALL {
        let tasks: Vec<_> = (0..8)
            .map(|_| tokio::spawn(take_of(Arc::clone(&backend), algorithm)))
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.expect("decisions");
        }
        taken.push(sum);
    }
    taken
}

async fn take_of(backend: Arc<dyn Backend>, algorithm: Algorithm) -> u32 {
    let limits = format!("{LIMIT}/366d").parse().expect("a rate");
    let policy = Policy::new("shared", algorithm, limits);
    let key = KeyBuf::of("shared");
    let mut taken = 0;
    loop {
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        let answer = backend.decide(&[check], Join::Each).await.remove(0);
        if !answer.expect("a decision").is_allowed() {
            return taken;
        }
        taken += 1;
    }
}

/// Nobody got more than all of them may have together, and nothing is left.
pub(crate) fn assert_shared(taken: impl IntoIterator<Item = Vec<u32>>) {
    let mut sums = vec![0; Algorithm::ALL.len()];
    for of_one in taken {
        for (sum, of_one) in sums.iter_mut().zip(of_one) {
            *sum += of_one;
        }
    }
    assert_eq!(sums, vec![LIMIT; Algorithm::ALL.len()]);
}

/// What a process says that could begin.
const READY: &str = "ready";

/// What one of the other processes does: waits for the others to be there, takes what it can get, and says what that was. It
/// does not wait if nobody can tell it to go on.
pub(crate) async fn another(backend: Arc<dyn Backend>) {
    println!("{READY}");
    let told = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    told.await.unwrap().expect("a line, or the end");
    let taken = take(backend).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    println!("taken {taken:?} at {}", now.unwrap().as_secs());
}

/// Starts this program again to run the test of that name, with its clock ahead or behind.
pub(crate) fn start(test: &str, url: &str, clock: Option<&str>) -> Child {
    started(command(test, url, clock).stdin(Stdio::null()))
}

fn command(test: &str, url: &str, clock: Option<&str>) -> Command {
    let program = std::env::current_exe().expect("a path");
    let mut command = match clock {
        None => Command::new(program),
        Some(clock) => {
            let mut command = Command::new("faketime");
            // Timers go by the other clock, which is right wherever the time of day is wrong.
            command
                .args(["--exclude-monotonic", "-f", clock])
                .arg(program);
            command
        }
    };
    command
        .args(["--exact", test, "--nocapture"])
        .env(SERVER, url)
        .stdout(Stdio::piped());
    command
}

fn started(command: &mut Command) -> Child {
    let child = command.spawn();
    child.expect("`faketime` is missing: apt-get install -y --no-install-recommends faketime")
}

/// A process that is [`another`].
struct Another {
    child: Child,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Another {
    fn start(test: &str, url: &str, clock: Option<&str>) -> Self {
        let mut child = started(command(test, url, clock).stdin(Stdio::piped()));
        let output = child.stdout.take().expect("it is piped");
        Self {
            child,
            output: BufReader::new(output),
            said: String::new(),
        }
    }

    /// Waits until it has connected.
    fn is_ready(&mut self) {
        while !self.said.trim_end().ends_with(READY) {
            let read = self.output.read_line(&mut self.said).expect("a text");
            assert!(read > 0, "it ended: {}", self.said);
        }
    }

    fn goes_on(&mut self) {
        let mut input = self.child.stdin.take().expect("it is piped");
        input.write_all(b"\n").expect("it listens");
    }

    /// What it took, and what it takes the time to be.
    fn outcome(mut self) -> (Vec<u32>, u64) {
        let read = self.output.read_to_string(&mut self.said);
        read.expect("a text");
        let (status, said) = (self.child.wait().expect("it ends"), self.said);
        assert!(status.success(), "{said}");
        let (_, said) = said.split_once("taken [").expect("what it took");
        let (taken, now) = said.split_once("] at ").expect("the time");
        let taken = taken.split(", ").map(|it| it.parse().unwrap()).collect();
        let now = now.lines().next().expect("a line").trim();
        (taken, now.parse().unwrap())
    }
}

/// Runs processes with these clocks, which begin at the same time, and returns what they take the time to be.
fn at_once(test: &str, url: &str, clocks: [Option<&str>; 3]) -> [u64; 3] {
    let mut others = clocks.map(|clock| Another::start(test, url, clock));
    others.iter_mut().for_each(Another::is_ready);
    others.iter_mut().for_each(Another::goes_on);
    let outcomes = others.map(Another::outcome);
    let times = outcomes.each_ref().map(|(_, now)| *now);
    assert_shared(outcomes.map(|(taken, _)| taken));
    times
}

/// Three processes run the test of that name, which is [`another`], at the same time; none has more than its share of the
/// server's budget.
pub(crate) fn share(test: &str, url: &str) {
    at_once(test, url, [None; 3]);
}

/// The same, where the clocks of two are weeks off, in which some units come back.
pub(crate) fn share_weeks_apart(test: &str, url: &str) {
    const MONTH: u64 = 29 * 24 * 3_600;
    let [real, ahead, behind] = at_once(test, url, [None, Some("+30d"), Some("-30d")]);
    assert!(
        ahead > real + MONTH && behind < real - MONTH,
        "the clocks were apart"
    );
}
