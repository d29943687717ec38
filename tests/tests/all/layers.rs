//! The conformance suite on layers around the memory backend; what several processes see of each other through
//! them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ratelimit::{
    Algorithm, Backend, BoxFuture, Capabilities, Check, Join, KeyBuf, Layer, ManualClock,
    MemoryBackend, Policy,
};
use ratelimit_backends::layers::{DenialCache, Lease, Timeout};
use ratelimit_core::Source;
use ratelimit_tests::conformance::{Store, Time};

use crate::backends::passed_on;

/// A memory backend that has to be waited for, as a store that is far away has to be.
struct Distant {
    memory: MemoryBackend,
    capabilities: Capabilities,
}

impl Distant {
    fn new(time: Time) -> Self {
        let memory = match time {
            Time::Injected(clock) => MemoryBackend::builder().clock(clock).build(),
            Time::Own => MemoryBackend::new(),
        };
        let capabilities = memory.capabilities().clone().with_immediate(false);
        Self {
            memory,
            capabilities,
        }
    }
}

impl Backend for Distant {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    passed_on! { memory: decide peek adjust reset ping sweep close }
}

/// What is put around the one memory backend of a store.
type Around = fn(Time, Arc<dyn Backend>) -> Arc<dyn Backend>;

/// Every instance is the same backend: its layer knows of all that happens.
struct Layered(Around, OnceLock<Arc<dyn Backend>>);

impl Layered {
    fn new(around: Around) -> Self {
        Self(around, OnceLock::new())
    }
}

impl Store for Layered {
    fn open(&self, time: Time) -> BoxFuture<'_, Arc<dyn Backend>> {
        let open = || (self.0)(time.clone(), Arc::new(Distant::new(time.clone())));
        let backend = Arc::clone(self.1.get_or_init(open));
        Box::pin(async { backend })
    }
}

fn denial_cache(time: Time) -> DenialCache {
    match time {
        // For as long as denials are denials.
        Time::Injected(clock) => DenialCache::new().max_age(Duration::MAX).clock(clock),
        Time::Own => DenialCache::new(),
    }
}

mod denials {
    use super::*;

    fn around(time: Time, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        denial_cache(time).layer(inner).expect("a layer")
    }

    ratelimit_tests::conformance!(Layered::new(around));
}

mod timeout {
    use super::*;

    fn around(_: Time, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Timeout::new(Duration::from_secs(10))
            .layer(inner)
            .expect("a layer")
    }

    ratelimit_tests::conformance!(Layered::new(around));
}

mod denials_around_timeout {
    use super::*;

    fn around(time: Time, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let inner = Timeout::new(Duration::from_secs(10)).layer(inner);
        denial_cache(time)
            .layer(inner.expect("a layer"))
            .expect("a layer")
    }

    ratelimit_tests::conformance!(Layered::new(around));
}

mod lease {
    use super::*;

    /// Of a share so small that nothing is held of the limits of the suite, which are exact then.
    fn around(time: Time, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let lease = Lease::new().max_share(1e-9);
        let lease = match time {
            Time::Injected(clock) => lease.clock(clock),
            Time::Own => lease,
        };
        lease.layer(inner).expect("a layer")
    }

    ratelimit_tests::conformance!(Layered::new(around));
}

/// Two processes, each with a memory of denials of its own, ask one store.
#[tokio::test]
async fn another_process_sees_a_reset_or_refund_after_the_longest_age() {
    let clock = ManualClock::new();
    let store: Arc<dyn Backend> = Arc::new(Distant::new(Time::Injected(clock.clone())));
    let process = || {
        let cache = DenialCache::new().clock(clock.clone());
        cache.layer(Arc::clone(&store)).expect("a layer")
    };
    let [one, other] = [process(), process()];
    let policy = Policy::new("p", Algorithm::TokenBucket, "1/h".parse().expect("a rate"));
    let key = KeyBuf::of("k");
    let checks = [Check::new(&policy, policy.limits(), key.as_ref())];
    let ask = async |process: &Arc<dyn Backend>| {
        let mut answers = process.decide(&checks, Join::Each).await;
        answers.pop().expect("an answer").expect("a decision")
    };
    for refunded in [false, true] {
        let charge = ask(&one).await.charge().clone();
        for process in [&one, &other] {
            assert!(!ask(process).await.is_allowed());
            assert_eq!(ask(process).await.source(), Source::Cache);
        }
        if refunded {
            let adjusts = [ratelimit::Adjust::refund(checks[0], charge)];
            one.adjust(&adjusts).await;
        } else {
            one.reset(&checks).await.expect("a reset");
        }
        let peeked = other.peek(&checks).await.pop().expect("an answer");
        assert!(peeked.expect("a decision").is_allowed());
        clock.advance(DenialCache::DEFAULT_MAX_AGE.saturating_sub(Duration::from_nanos(1)));
        let late = ask(&other).await;
        assert!(!late.is_allowed());
        assert_eq!(late.source(), Source::Cache);
        // The process that did it knows at once.
        assert!(one.decide_now(&checks[0]).is_none());
        clock.advance(Duration::from_nanos(1));
        assert!(ask(&other).await.is_allowed());
        one.reset(&checks).await.expect("a reset");
        clock.advance(DenialCache::DEFAULT_MAX_AGE);
    }
}
