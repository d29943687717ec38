//! Many tasks that ask again as soon as they have their answer.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::contenders::Contender;

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Calls that were admitted.
    pub admitted: u64,
    pub took: Duration,
}

/// What one task, or thread, saw.
#[derive(Default)]
pub struct Seen {
    pub latencies: Vec<u32>,
    pub admitted: u64,
}

impl Seen {
    pub fn count(&mut self, started: Instant, admitted: bool) -> Instant {
        let now = Instant::now();
        let taken = now.duration_since(started).as_nanos();
        self.latencies
            .push(u32::try_from(taken).unwrap_or(u32::MAX));
        self.admitted += u64::from(admitted);
        now
    }
}

impl Load {
    pub fn of(seen: Vec<Seen>, took: Duration) -> Self {
        let admitted = seen.iter().map(|it| it.admitted).sum();
        let mut all: Vec<u32> = seen.into_iter().flat_map(|it| it.latencies).collect();
        all.sort_unstable();
        let at = |part: usize| {
            let nanos = all.get(all.len() * part / 100).copied().unwrap_or(0);
            Duration::from_nanos(nanos.into())
        };
        Self {
            per_second: all.len() as f64 / took.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            admitted,
            took,
        }
    }

    /// The median of each.
    pub fn median(mut rounds: Vec<Self>) -> Self {
        rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        let per_second = rounds[rounds.len() / 2].per_second;
        let middle = |time: fn(&Self) -> Duration| {
            let mut times: Vec<_> = rounds.iter().map(time).collect();
            times.sort_unstable();
            times[times.len() / 2]
        };
        Self {
            per_second,
            p50: middle(|it| it.p50),
            p99: middle(|it| it.p99),
            admitted: rounds.iter().map(|it| it.admitted).sum(),
            took: rounds.iter().map(|it| it.took).sum(),
        }
    }
}

/// The keys that tasks go through, each in an order of its own.
pub fn keys(count: usize) -> Arc<Vec<String>> {
    Arc::new((0..count).map(|key| format!("user:{key}")).collect())
}

/// The next number of a sequence without a pattern.
pub fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).unwrap_or(0)
}

/// So many tasks for so long.
pub fn run<C: Contender>(
    runtime: &Runtime,
    contender: &Arc<C>,
    keys: &Arc<Vec<String>>,
    tasks: usize,
    time: Duration,
) -> Load {
    let started = Instant::now();
    let until = started + time;
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (contender, keys) = (Arc::clone(contender), Arc::clone(keys));
            runtime.spawn(async move {
                let mut state = 0x2545_F491_4F6C_DD1D ^ (task as u64 + 1);
                let mut seen = Seen::default();
                let mut now = Instant::now();
                while now < until {
                    let key = &keys[next(&mut state) % keys.len()];
                    let admitted = contender.decide(key).await;
                    now = seen.count(now, admitted);
                }
                seen
            })
        })
        .collect();
    let seen = runtime.block_on(async {
        let mut seen = Vec::new();
        for task in tasks {
            seen.push(task.await.expect("no task panics"));
        }
        seen
    });
    Load::of(seen, started.elapsed())
}
