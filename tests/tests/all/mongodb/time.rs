//! Calls that read the clock at other times than they write.

use core::time::Duration;

use ratelimit_backends::mongodb::MongoBackend;
use ratelimit_core::{Algorithm, Clock, ManualClock, SystemClock};
use ratelimit_tests::servers::mongodb::MongoDb;

use super::{PATIENCE, connected, decide, policy};

/// Somebody wrote half a second ahead of the server's clock, as one does who read it later and came first. Who is denied then
/// must not move the bucket back: that would be half of it once more.
#[tokio::test]
async fn who_reads_the_clock_first_and_comes_last_gives_nothing_back() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    let ahead = SystemClock.now().plus(Duration::from_millis(500));
    let later = MongoBackend::builder(server.url()).clock(ManualClock::at(ahead));
    let later = later.timeout(PATIENCE).connect().await;
    let later = later.expect("it is there");
    let policy = policy(Algorithm::TokenBucket, "100/s");
    let decision = decide(&later, &policy, "k", 100).await;
    assert_eq!(decision.expect("a decision").remaining(), 0);
    for _ in 0..3 {
        decide(&backend, &policy, "k", 100)
            .await
            .expect("a decision");
    }
    let decision = decide(&later, &policy, "k", 1).await;
    assert!(!decision.expect("a decision").is_allowed());
}
