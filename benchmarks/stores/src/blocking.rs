//! Threads that block: a guarded function, and the `redis` crate's own blocking client.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use ratelimit::ratelimit;

use crate::contenders::GCRA;
use crate::load::{Load, Seen, keys, next};

#[ratelimit(key = user, rate = "1000000/s", backend = "redis", name = "blocking")]
fn guarded(user: &str) -> Result<(), ratelimit::Rejection> {
    Ok(())
}

/// So many threads that call the guarded function, which the installed registry decides.
pub fn ours(threads: usize, time: Duration) -> Load {
    run(threads, time, || |key: &str| guarded(key).is_ok())
}

/// So many threads with a connection each.
pub fn by_hand(url: &str, threads: usize, time: Duration) -> Load {
    let client = redis::Client::open(url).expect("a URL");
    run(threads, time, || {
        let mut connection = client.get_connection().expect("it is there");
        let script = redis::Script::new(GCRA);
        move |key: &str| {
            let mut call = script.prepare_invoke();
            call.key(key).arg(1e-6).arg(1_000_000);
            let answer: (i64, String) = call.invoke(&mut connection).expect("it answers");
            answer.0 == 1
        }
    })
}

fn run<F: FnMut(&str) -> bool>(
    threads: usize,
    time: Duration,
    make: impl Fn() -> F + Sync,
) -> Load {
    let keys = keys(10_000);
    let started = Instant::now();
    let until = started + time;
    let seen = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (make, keys) = (&make, &keys);
                scope.spawn(move || {
                    let mut decide = make();
                    let mut state = 0x2545_F491_4F6C_DD1D ^ (thread as u64 + 1);
                    let mut seen = Seen::default();
                    let mut now = Instant::now();
                    while now < until {
                        let key = &keys[next(&mut state) % keys.len()];
                        let admitted = decide(key);
                        now = seen.count(now, admitted);
                    }
                    seen
                })
            })
            .collect();
        let seen = threads.into_iter().map(|it| it.join().expect("no panic"));
        seen.collect()
    });
    Load::of(seen, started.elapsed())
}
