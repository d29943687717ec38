use core::num::NonZeroU64;

use super::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn later_the_times_are_shorter_and_no_less_remains() {
    let quotas = [
        Quota::new(5, 1, Duration::ZERO, seconds(2)),
        Quota::new(9, 3, seconds(7), seconds(8)),
    ];
    let denied = Decision::new(Outcome::Denied, Source::Store, &quotas, Charge::default());
    let later = denied.clone().later(seconds(1));
    assert_eq!(later.outcome(), Outcome::Denied);
    assert_eq!(
        later.quotas().collect::<Vec<_>>(),
        [
            Quota::new(5, 1, Duration::ZERO, seconds(1)),
            Quota::new(9, 3, seconds(6), seconds(7)),
        ]
    );
    let later = denied.later(seconds(7));
    assert_eq!(
        later.quotas().collect::<Vec<_>>(),
        [
            Quota::new(5, 5, Duration::ZERO, Duration::ZERO),
            Quota::new(9, 3, Duration::ZERO, seconds(1)),
        ],
        "what is over has everything again"
    );
    assert_eq!(later.binding().map(|quota| quota.limit), Some(9));
    let over = later.later(Duration::MAX);
    assert_eq!((over.remaining(), over.reset_after()), (5, Duration::ZERO));
}

#[test]
fn later_a_bucket_knows_what_was_refilled() {
    let interval = NonZeroU64::new(100_000_000).unwrap();
    let bucket = Checked::of_bucket(10, interval, (false, 500_000_000, 800_000_000));
    let denied = Decision::of_bucket(bucket, Charge::default());
    assert_eq!(denied.remaining(), 2);
    for (millis, remaining) in [(0, 2), (99, 2), (100, 3), (250, 4), (499, 6), (900, 10)] {
        let later = denied.clone().later(Duration::from_millis(millis));
        assert_eq!(later.remaining(), remaining, "{millis} ms");
    }
}
