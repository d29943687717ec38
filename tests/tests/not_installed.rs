//! A process that installs no registry, from many threads at once.

use ratelimit::{Registry, Rejection, ratelimit};

#[ratelimit(key = key, rate = "50/d", algorithm = "sliding_window")]
fn guarded(key: usize) -> Result<(), Rejection> {
    let _ = key;
    Ok(())
}

#[ratelimit(rate = "10/h", backend = "redis", on_error = "open")]
fn elsewhere() -> Result<(), Rejection> {
    Ok(())
}

#[test]
fn memory_decides_and_a_named_backend_is_unavailable() {
    let admitted: usize = std::thread::scope(|threads| {
        let work = || (0..200).filter(|call| guarded(call % 2).is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| threads.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 100);
    // A posture is for a backend that fails, not for one that was forgotten.
    assert_eq!(
        elsewhere().unwrap_err().to_string(),
        "rate limiter unavailable: configuration: no backend `redis` is registered; registered: \
         memory"
    );
    assert_eq!(
        Registry::current().backends().collect::<Vec<_>>(),
        ["memory"]
    );
}
