//! Lines that break and are mended while they are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ratelimit_core::{Backend, Check, Join, KeyBuf, Policy};
use ratelimit_tests::servers::proxy::{Line, Proxy};
use tokio::task::yield_now;

/// How many ask over each line at once.
const CALLERS: usize = 8;

/// How many of their calls end before a line changes.
const CALLS: usize = 16;

/// What became of all that was asked.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) admitted: u32,
    pub(crate) failed: u32,
}

/// Has the key `k` asked for over two lines to a server, of which one at a time is broken, so many times in turn: at once, or
/// in the middle of an answer, `step` bytes later each time. `backend` makes that of a port.
pub(crate) async fn while_they_break(
    server: u16,
    turns: usize,
    step: usize,
    policy: &Arc<Policy>,
    backend: impl Fn(u16) -> Arc<dyn Backend>,
) -> Outcome {
    let lines = [Proxy::before(server), Proxy::before(server)];
    let (ended, calls) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut tasks = Vec::new();
    for line in &lines {
        let backend = backend(line.port());
        for caller in 0..CALLERS {
            tasks.push(tokio::spawn(ask(
                Arc::clone(&backend),
                Arc::clone(policy),
                // Some are batches, which may be decided otherwise.
                1 + caller % 2,
                Arc::clone(&ended),
                Arc::clone(&calls),
            )));
        }
    }
    for turn in 0..turns {
        let broken = [Line::CutAfter(turn * step), Line::Reset, Line::CutAfter(0)];
        for state in [broken[turn % 3], Line::Pass] {
            lines[turn % 2].set(state);
            let enough = calls.load(Ordering::Relaxed) + CALLS;
            while calls.load(Ordering::Relaxed) < enough {
                yield_now().await;
            }
        }
    }
    ended.store(true, Ordering::Relaxed);
    let mut all = Outcome::default();
    for task in tasks {
        let outcome = task.await.expect("it ends");
        all.admitted += outcome.admitted;
        all.failed += outcome.failed;
    }
    all
}

async fn ask(
    backend: Arc<dyn Backend>,
    policy: Arc<Policy>,
    checks: usize,
    ended: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let key = KeyBuf::of("k");
    let checks = vec![Check::new(&policy, policy.limits(), key.as_ref()); checks];
    while !ended.load(Ordering::Relaxed) {
        for answer in backend.decide(&checks, Join::Each).await {
            match answer {
                Ok(decision) => outcome.admitted += u32::from(decision.is_allowed()),
                Err(_) => outcome.failed += 1,
            }
        }
        calls.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
    }
    outcome
}
