//! Commands are written once for all checks that are alike: those that differ in anything else than their keys are not.

use core::time::Duration;

use ratelimit_core::{Algorithm, Backend, Check, Join, KeyBuf, Limits, Policy};
use ratelimit_tests::servers::mongodb::MongoDb;

use super::connected;

#[tokio::test]
async fn checks_that_differ_in_one_thing_are_decided_each_by_itself() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    let second = Duration::from_secs(1);
    // Each differs from the first in one thing; how many of its calls are admitted when nothing was used.
    let (bucket, one) = (Algorithm::LeakyBucket, "4/366d");
    let cases = [
        (bucket, one, None, 1, Duration::ZERO, 4),
        (bucket, "5/366d", None, 1, Duration::ZERO, 5),
        (bucket, "4/365d", None, 1, Duration::ZERO, 4),
        (bucket, one, Some(2), 1, Duration::ZERO, 2),
        (bucket, one, Some(7), 1, Duration::ZERO, 7),
        (bucket, one, None, 2, Duration::ZERO, 2),
        (bucket, "4/366d, 3/365d", None, 1, Duration::ZERO, 3),
        (bucket, one, None, 1, second, 1),
        (bucket, one, None, 1, second * 100 * 86_400, 2),
        (Algorithm::TokenBucket, one, None, 1, Duration::ZERO, 4),
        (Algorithm::Gcra, one, None, 1, second, 4),
        (Algorithm::FixedWindow, one, None, 1, Duration::ZERO, 4),
        (
            Algorithm::SlidingWindowCounter,
            one,
            None,
            1,
            Duration::ZERO,
            4,
        ),
    ];
    // In this order, and once more with the commands of all of them known.
    for round in 0..2 {
        for (case, (algorithm, limits, burst, cost, delay, expected)) in cases.iter().enumerate() {
            let mut limits: Limits = limits.parse().expect("limits");
            if let Some(burst) = burst {
                limits = limits.with_bursts(&[*burst]).expect("a burst");
            }
            let policy = Policy::named("p".into(), *algorithm, limits);
            let key = KeyBuf::of(&(round, case));
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            let check = check.with_cost(*cost).with_max_delay(*delay);
            let mut admitted = 0;
            for _ in 0..9 {
                let answer = backend.decide(&[check], Join::Each).await.remove(0);
                admitted += u32::from(answer.expect("a decision").is_allowed());
            }
            assert_eq!(admitted, *expected, "{algorithm} {limits} {cost} {delay:?}");
        }
    }
}
