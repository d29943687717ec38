//! A process that installs no registry, from many threads at once.

use std::io;
use std::sync::{Arc, Mutex};

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

/// What is logged, by all threads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, part: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(part)).count()
    }
}

#[test]
fn memory_decides_and_a_named_backend_is_unavailable() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let admitted: usize = std::thread::scope(|threads| {
        let work = || (0..200).filter(|call| guarded(call % 2).is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| threads.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(admitted, 100);
    assert_eq!(log.count("no rate limit registry is installed"), 1);

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

    // A flood of calls is no flood of lines.
    for _ in 0..1_000 {
        let _ = elsewhere();
    }
    assert_eq!(log.count("the policy cannot be used"), 1);
    assert_eq!(log.count(""), 2);
}
