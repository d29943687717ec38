//! Calls that wait for their place instead of being rejected. It ends by itself, after a second:
//!
//! ```text
//! cargo run -p ratelimit-examples --bin waiting
//! ```

use std::time::Instant;

use ratelimit::{Rejection, aratelimit, ratelimit};

/// A partner's service that takes one call every tenth of a second, however many come at once: the
/// leaky bucket lets them out evenly spaced. Five fit into it; a sixth is rejected at once.
#[ratelimit(rate = "5/500ms", algorithm = "leaky_bucket", wait = "1s")]
fn post(parcel: u32) -> Result<String, Rejection> {
    Ok(format!("parcel {parcel}"))
}

/// Two pages at a time from each host. Who comes too early waits in a queue, which nobody
/// overtakes; who would wait longer than half a second is told so at once.
#[aratelimit(key = host, rate = "2/300ms", algorithm = "fixed_window", wait = "500ms")]
async fn fetch(host: &str, page: u32) -> Result<String, Rejection> {
    Ok(format!("{host}/{page}"))
}

fn say(start: Instant, result: Result<String, Rejection>) {
    let millis = start.elapsed().as_millis();
    match result {
        Ok(done) => println!("  after {millis:3} ms: {done}"),
        Err(rejection) => println!("  after {millis:3} ms: {rejection}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("threads, let out evenly:");
    let start = Instant::now();
    std::thread::scope(|threads| {
        for parcel in 1..=6 {
            threads.spawn(move || say(start, post(parcel)));
        }
    });

    println!("tasks of one thread, two in each window:");
    let start = Instant::now();
    tokio::join!(
        async { say(start, fetch("example.org", 1).await) },
        async { say(start, fetch("example.org", 2).await) },
        async { say(start, fetch("example.org", 3).await) },
        async { say(start, fetch("example.org", 4).await) },
        async { say(start, fetch("example.com", 1).await) },
    );
}
