//! Budgets in Redis of which several processes hold slices.

use core::time::Duration;
use std::sync::Arc;
use std::thread;

use ratelimit::{Registry, Rejection, aratelimit, ratelimit, testing};
use ratelimit_backends::layers::{DenialCache, Lease, LeaseStats};
use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, Backend, Check, Join, KeyBuf, Layer, Policy};
use ratelimit_tests::servers::redis::Redis;

use super::{PATIENCE, policy};

const LIMIT: u32 = 30_000;

/// What one process has: connections of its own, and a lease.
async fn process(server: &Redis) -> (Arc<dyn Backend>, LeaseStats) {
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect().await;
    let denials = DenialCache::new().layer(Arc::new(backend.expect("it is there")));
    let lease = Lease::new();
    (lease.layer(denials.unwrap()).unwrap(), lease.stats())
}

async fn ask(backend: &Arc<dyn Backend>, policy: &Policy) -> bool {
    let key = KeyBuf::of("hot");
    let check = Check::new(policy, policy.limits(), key.as_ref());
    let answer = match backend.decide_now(&check) {
        Some(answer) => answer,
        None => backend.decide(&[check], Join::Each).await.remove(0),
    };
    answer.expect("a decision").is_allowed()
}

/// Several processes, many tasks in each: not one more than the limit, and none less once all have given back
/// what they held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_exact_across_processes() {
    let server = Redis::start();
    // Longer than the test, whenever that starts.
    let policy = Arc::new(policy(Algorithm::FixedWindow, &format!("{LIMIT}/52w")));
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(process(&server).await);
    }
    let mut tasks = Vec::new();
    for task in 0..60 {
        let (backend, policy) = (Arc::clone(&processes[task % 3].0), Arc::clone(&policy));
        tasks.push(tokio::spawn(async move {
            let mut admitted = 0;
            for _ in 0..400 {
                admitted += u32::from(ask(&backend, &policy).await);
            }
            admitted
        }));
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    assert_eq!(admitted, 24_000, "there is enough for all");
    for (_, stats) in &processes {
        assert!(stats.hits() > stats.misses(), "{stats:?}");
    }
    for (backend, _) in processes.drain(1..) {
        backend.close().await;
    }
    let (last, stats) = &processes[0];
    // On a busy machine a slice of the last one may be over, and on its way back, at any moment.
    for _ in 0..200 {
        while ask(last, &policy).await {
            admitted += 1;
        }
        if admitted >= LIMIT {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(admitted, LIMIT, "{stats:?}");
}

#[ratelimit(key = key, rate = "20000/52w", algorithm = "fixed_window", backend = "leased", name = "leased by threads")]
fn by_threads(key: &str) -> Result<(), Rejection> {
    Ok(())
}

#[aratelimit(key = key, rate = "20000/52w", algorithm = "fixed_window", backend = "leased", name = "leased by threads")]
async fn by_tasks(key: &str) -> Result<(), Rejection> {
    Ok(())
}

/// Threads that block and tasks spend from the same slices.
#[test]
fn threads_and_tasks_share_what_is_held() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let lease = Lease::new();
    let leased = lease.layer(Arc::new(backend.connect_blocking().expect("it is there")));
    let builder = Registry::builder().backend("leased", leased.unwrap());
    let scope = testing::scope_with(|_| builder.blocking_timeout(PATIENCE)).unwrap();
    let admitted: usize = thread::scope(|threads| {
        let mut all = Vec::new();
        for _ in 0..8 {
            let handle = scope.handle();
            let work =
                move || handle.run(|| (0..3_000).filter(|_| by_threads("k").is_ok()).count());
            all.push(threads.spawn(work));
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let work = scope.wrap(async {
            let mut admitted = 0;
            for _ in 0..3_000 {
                admitted += usize::from(by_tasks("k").await.is_ok());
            }
            admitted
        });
        let by_tasks = runtime.block_on(work);
        let by_threads: usize = all.into_iter().map(|it| it.join().unwrap()).sum();
        by_threads + by_tasks
    });
    let stats = lease.stats();
    assert!(admitted <= 20_000, "{admitted}");
    assert!(admitted >= 18_000, "{admitted}: {stats:?}");
    assert!(stats.hits() > stats.misses(), "{stats:?}");
}
