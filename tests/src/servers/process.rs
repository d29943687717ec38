//! [`Process`]: a program that runs as long as somebody holds it, or until it is killed.

use core::time::Duration;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{env, fs, io, process, thread};

/// How long a server may take until it answers, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program, and how it is installed.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) install: &'static str,
}

/// A folder that goes when this does.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// A program that was started, and the folder that is its own.
#[derive(Debug)]
pub(super) struct Process {
    program: Program,
    arguments: Vec<String>,
    state: Mutex<State>,
    folder: Folder,
}

#[derive(Debug)]
struct State {
    child: Child,
    frozen: bool,
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// A new one, empty.
    pub fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
            let folder = env::temp_dir().join(format!("ratelimit-{}-{number}", process::id()));
            match fs::create_dir(&folder) {
                Ok(()) => return Self(folder),
                // A process of the same number was killed before it could clean up.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("no temporary folder {}: {error}", folder.display()),
            }
        }
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file in it, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let file = self.file(name);
        fs::write(&file, text).expect("a file in the temporary folder");
        file
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Process {
    /// Starts a program in a folder of its own.
    pub(super) fn start(program: &Program, arguments: Vec<String>, folder: Folder) -> Self {
        let child = spawn(program, &arguments, &folder);
        let frozen = false;
        Self {
            program: program.clone(),
            arguments,
            state: Mutex::new(State { child, frozen }),
            folder,
        }
    }

    /// Ends it at once, as a power cut does, and starts it again in the same folder.
    pub(super) fn start_again(&self) {
        self.kill();
        self.state().child = spawn(&self.program, &self.arguments, &self.folder);
    }

    /// The same, until `answers`, as [`answers`](Self::answers) does.
    pub(super) fn restart(&self, answers: impl Fn(&Self) -> bool) {
        for _ in 0..20 {
            self.start_again();
            if answers(self) {
                return;
            }
            // What was killed has not quite gone.
            thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not start again: {}", self.log());
    }

    /// Ends it at once, as a power cut does.
    pub(super) fn kill(&self) {
        let mut state = self.state();
        // What serves its connections may answer for a while without it.
        let others = descendants(&mut state.child);
        let _ = state.child.kill();
        if !others.is_empty() {
            let _ = kill("-KILL", &others);
        }
        let _ = state.child.wait();
        state.frozen = false;
    }

    /// Stops it where it is: its connections stay, and nothing answers.
    pub(super) fn freeze(&self) {
        let ids = self.signal("-STOP", true);
        // Its threads stop one after the other.
        wait_until("the server is frozen", || ids.iter().all(|id| stands(*id)));
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) {
        self.signal("-CONT", false);
    }

    /// Sends a signal to it and to what it started, and says which processes these are.
    fn signal(&self, signal: &str, frozen: bool) -> Vec<u32> {
        let mut state = self.state();
        let mut ids = vec![state.child.id()];
        ids.extend(descendants(&mut state.child));
        // A child may have ended meanwhile.
        let sent = kill(signal, &ids);
        assert!(sent.is_ok(), "kill {signal} failed");
        state.frozen = frozen;
        ids
    }

    /// Whether it runs, and is not frozen.
    pub(super) fn is_up(&self) -> bool {
        let mut state = self.state();
        !state.frozen && matches!(state.child.try_wait(), Ok(None))
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.state().child.id()
    }

    /// Waits until it answers. `false` when it has ended instead, as when its port was taken meanwhile.
    pub(super) fn answers(&self, ready: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while !ready() {
            if !self.is_up() {
                return false;
            }
            let waited = started.elapsed();
            assert!(
                waited < PATIENCE,
                "the server does not answer: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// The folder it runs in.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What it said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.file("log")).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process has started, and what that has: some servers have a process for each connection.
fn descendants(child: &mut Child) -> Vec<u32> {
    if !matches!(child.try_wait(), Ok(None)) {
        // Its number may be another's by now.
        return Vec::new();
    }
    let mut ids = children(child.id());
    let mut seen = 0;
    while let Some(id) = ids.get(seen) {
        ids.extend(children(*id));
        seen += 1;
    }
    ids
}

/// Sends a signal to processes.
fn kill(signal: &str, ids: &[u32]) -> io::Result<Output> {
    let ids = ids.iter().map(u32::to_string);
    Command::new("kill").arg(signal).args(ids).output()
}

/// Whether every thread of a process was stopped, or is no more.
fn stands(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task"))
        .into_iter()
        .flatten();
    threads.flatten().all(|thread| {
        let state = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // It stands behind the name, which can have any sign.
        let state = state.rsplit(") ").next().unwrap_or_default().chars().next();
        matches!(state, None | Some('T' | 'Z' | 'X'))
    })
}

/// The processes that a process has started, and that still run.
fn children(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().flat_map(str::parse).collect()
}

fn spawn(program: &Program, arguments: &[String], folder: &Folder) -> Child {
    let log = File::options()
        .append(true)
        .create(true)
        .open(folder.file("log"))
        .expect("a file in the temporary folder");
    let child = Command::new(&program.path)
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("another handle of it"))
        .stdout(log)
        .spawn();
    let name = program.path.display();
    match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            panic!("`{name}` is missing: {}", program.install)
        }
        Err(error) => panic!("`{name}` cannot be started: {error}"),
    }
}

/// Waits for something that servers agree on between themselves.
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it is not so in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
