//! What a guarded call does with its arguments.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ratelimit::{Limits, Rate, Rejection, RequestContext, aratelimit, rate, ratelimit, testing};

#[test]
fn the_body_does_not_run_when_the_call_is_rejected() {
    static RAN: AtomicUsize = AtomicUsize::new(0);

    #[ratelimit(name = "body", rate = "1/h")]
    fn guarded() -> Result<(), Rejection> {
        RAN.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    let _scope = testing::scope();
    assert!(guarded().is_ok());
    assert!(matches!(guarded(), Err(Rejection::Limited(_))));
    assert_eq!(RAN.load(Ordering::SeqCst), 1);
}

#[test]
fn cost_is_taken_and_what_can_never_fit_says_so() {
    #[ratelimit(name = "cost", rate = "10/h", cost = units)]
    fn guarded(units: i64) -> Result<(), Rejection> {
        Ok(())
    }

    let _scope = testing::scope();
    for _ in 0..3 {
        guarded(0).unwrap();
    }
    guarded(7).unwrap();
    assert!(matches!(guarded(4), Err(Rejection::Limited(_))));
    guarded(3).unwrap();
    guarded(0).unwrap();
    for (units, message) in [
        (11, "a cost of 11 can never be admitted: at most 10 at once"),
        (-1, "a cost of -1 is negative; it must be 0 to 10"),
        (
            i64::MAX,
            "a cost of 9223372036854775807 can never be admitted: at most 10 at once",
        ),
    ] {
        let rejection = guarded(units).unwrap_err();
        assert!(matches!(
            rejection,
            Rejection::Unsatisfiable { capacity: 10, .. }
        ));
        assert_eq!(rejection.to_string(), message);
    }
}

#[test]
fn skip_if_is_evaluated_first_and_alone() {
    fn evaluated() -> u32 {
        panic!("not when the call is skipped")
    }

    #[ratelimit(name = "skip", rate = "1/h", key = evaluated(), cost = evaluated(), skip_if = skip)]
    fn guarded(skip: bool) -> Result<(), Rejection> {
        Ok(())
    }

    let _scope = testing::scope();
    for _ in 0..3 {
        guarded(true).unwrap();
    }
    assert!(std::panic::catch_unwind(|| guarded(false)).is_err());
}

#[test]
fn each_call_may_bring_its_limits() {
    #[derive(Clone, Copy)]
    enum Plan {
        Free,
        Pro,
        Own(Rate),
    }

    #[ratelimit(
        name = "plans",
        key = user,
        rate = match plan { Plan::Free => "1/h", Plan::Pro => "3/h", Plan::Own(rate) => rate },
        algorithm = "fixed_window",
    )]
    fn guarded(user: &str, plan: Plan) -> Option<()> {
        Some(())
    }

    let _scope = testing::scope();
    let admitted = |user, plan| (0..10).filter(|_| guarded(user, plan).is_some()).count();
    assert_eq!(admitted("free", Plan::Free), 1);
    assert_eq!(admitted("pro", Plan::Pro), 3);
    assert_eq!(admitted("own", Plan::Own(rate!("5/h"))), 5);
    assert_eq!(
        admitted("free", Plan::Pro),
        2,
        "no change of plan is a fresh budget"
    );
}

#[test]
fn bursts_may_be_evaluated() {
    #[ratelimit(name = "bursts", key = burst, rate = "60/h", burst = burst)]
    fn guarded(burst: i32) -> Result<(), Rejection> {
        Ok(())
    }

    let _scope = testing::scope();
    assert_eq!((0..10).filter(|_| guarded(4).is_ok()).count(), 4);
    let rejection = guarded(0).unwrap_err().to_string();
    assert_eq!(
        rejection,
        "rate limiter unavailable: configuration: a burst must be at least 1"
    );
    let rejection = guarded(-1).unwrap_err().to_string();
    assert!(
        rejection.contains("a burst of -1 is not within 1 to 4294967295"),
        "{rejection}"
    );
}

#[test]
fn several_rates_are_one_decision() {
    #[ratelimit(name = "several", rate = "2/s, 3/m", algorithm = "fixed_window")]
    fn guarded() -> Result<(), Rejection> {
        Ok(())
    }

    let scope = testing::scope();
    guarded().unwrap();
    guarded().unwrap();
    let retry_after = guarded().unwrap_err().retry_after().unwrap();
    assert_eq!(retry_after, Duration::from_secs(1));
    scope.clock().advance(retry_after);
    guarded().unwrap();
    let rejection = guarded().unwrap_err();
    let decision = rejection.decision().unwrap();
    assert_eq!((decision.limit(), decision.remaining()), (3, 0));
    assert_eq!(decision.retry_after(), Duration::from_secs(59));
    let remaining: Vec<_> = decision.quotas().map(|quota| quota.remaining).collect();
    assert_eq!(
        remaining,
        [1, 0],
        "what was denied is not charged to the other rate"
    );
}

#[test]
fn stacked_attributes_are_decided_outermost_first() {
    static ORDER: AtomicUsize = AtomicUsize::new(0);

    fn count() -> &'static str {
        ORDER.fetch_add(1, Ordering::SeqCst);
        "always the same"
    }

    #[ratelimit(name = "outer", rate = "2/h", key = count())]
    #[ratelimit(name = "inner", rate = "1/h", key = count())]
    fn guarded() -> Result<(), Rejection> {
        Ok(())
    }

    let _scope = testing::scope();
    guarded().unwrap();
    assert_eq!(ORDER.swap(0, Ordering::SeqCst), 2);
    assert_eq!(guarded().unwrap_err().decision().unwrap().limit(), 1);
    // The outer charge stayed, and the inner one is not evaluated any more.
    ORDER.store(0, Ordering::SeqCst);
    assert_eq!(guarded().unwrap_err().decision().unwrap().limit(), 2);
    assert_eq!(ORDER.load(Ordering::SeqCst), 1);
}

struct Incoming {
    from: Option<SocketAddr>,
    api_key: Option<Vec<u8>>,
}

impl RequestContext for Incoming {
    fn peer_addr(&self) -> Option<SocketAddr> {
        self.from
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        (name == "x-api-key")
            .then_some(self.api_key.as_deref())
            .flatten()
    }
}

#[test]
fn the_request_is_found_among_the_arguments() {
    #[ratelimit(name = "by ip", rate = "1/h", key = "ip")]
    fn by_ip(_count: u32, (first, second): (Incoming, &Incoming)) -> Result<bool, Rejection> {
        Ok(first.from.is_some() || second.from.is_some())
    }

    #[ratelimit(name = "by header", rate = "1/h", key = "header:X-API-Key", request = second)]
    fn by_header(first: &Incoming, second: &Incoming) -> Result<bool, Rejection> {
        Ok(first.api_key == second.api_key)
    }

    #[ratelimit(name = "in turn", rate = "1/h", key = "ip")]
    fn in_turn(first: &Incoming, second: Box<Incoming>) -> Result<(), Rejection> {
        let _ = (first, second);
        Ok(())
    }

    #[ratelimit(name = "dynamic", rate = "1/h", key = "ip")]
    fn dynamic(_: &dyn RequestContext) -> Result<(), Rejection> {
        Ok(())
    }

    let _scope = testing::scope();
    let incoming = |from: &str, key: &[u8]| Incoming {
        from: from.parse().ok(),
        api_key: Some(key.to_vec()),
    };
    let (a, b, none) = (
        incoming("192.0.2.1:1", b"a"),
        incoming("192.0.2.2:1", b"\xff"),
        incoming("", b"a"),
    );

    // A pair is no request, so that nothing is found in it.
    let rejection = by_ip(7, (incoming("192.0.2.1:1", b""), &b)).unwrap_err();
    assert!(matches!(
        rejection,
        Rejection::MissingKey { wanted: "ip", .. }
    ));
    assert_eq!(
        rejection.to_string(),
        "no rate limit key: no argument of the call provides `ip`"
    );

    assert!(by_header(&a, &b).is_ok());
    assert!(by_header(&b, &a).is_ok());
    assert!(by_header(&b, &a).is_err());
    let keyless = Incoming {
        from: None,
        api_key: None,
    };
    let rejection = by_header(&a, &keyless).unwrap_err();
    assert!(matches!(
        rejection,
        Rejection::MissingKey {
            wanted: "header:x-api-key",
            ..
        }
    ));

    assert_eq!(
        rejection.to_string(),
        "no rate limit key: the request has no header `x-api-key`"
    );

    in_turn(&none, Box::new(incoming("192.0.2.2:7", b""))).unwrap();
    in_turn(&a, Box::new(incoming("192.0.2.2:7", b""))).unwrap();
    in_turn(&b, Box::new(incoming("192.0.2.3:7", b""))).unwrap_err();

    dynamic(&a).unwrap();
    dynamic(&b).unwrap();
    dynamic(&a).unwrap_err();
}

#[tokio::test]
async fn a_future_that_is_dropped_before_it_is_polled_asks_nobody() {
    #[aratelimit(name = "dropped", rate = "1/h")]
    async fn guarded() -> Option<()> {
        Some(())
    }

    #[aratelimit(name = "dropped body", rate = "1/h")]
    fn body_runs_at_the_call(ran: &AtomicUsize) -> impl Future<Output = Option<()>> {
        ran.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Some(()))
    }

    let _scope = testing::scope();
    drop(guarded());
    assert!(guarded().await.is_some());
    let ran = AtomicUsize::new(0);
    drop(body_runs_at_the_call(&ran));
    assert!(body_runs_at_the_call(&ran).await.is_some());
    assert!(body_runs_at_the_call(&ran).await.is_none());
    assert_eq!(ran.into_inner(), 3);
}

#[test]
fn a_body_that_panics_leaves_nothing_behind() {
    #[ratelimit(name = "panics", rate = "2/h")]
    fn guarded(panics: bool) -> Option<()> {
        assert!(!panics, "on purpose");
        Some(())
    }

    let _scope = testing::scope();
    assert!(std::panic::catch_unwind(|| guarded(true)).is_err());
    assert!(guarded(false).is_some());
    assert!(guarded(false).is_none());
}

#[test]
fn limits_with_several_rates_may_be_evaluated() {
    #[ratelimit(name = "evaluated", rate = limits, algorithm = "fixed_window")]
    fn guarded(limits: &Limits) -> Option<()> {
        let _ = limits;
        Some(())
    }

    let _scope = testing::scope();
    let limits = "2/s, 100/h".parse().unwrap();
    assert_eq!((0..5).filter(|_| guarded(&limits).is_some()).count(), 2);
}

#[test]
fn plans_of_different_periods_on_one_key_do_not_undo_each_other() {
    #[ratelimit(
        name = "mixed plans",
        key = address,
        rate = if pro { "5/s" } else { "2/h" },
        algorithm = "fixed_window",
    )]
    fn guarded(address: &str, pro: bool) -> Option<()> {
        Some(())
    }

    let scope = testing::scope();
    let mut admitted = 0;
    for _ in 0..20 {
        admitted += usize::from(guarded("one address", false).is_some());
        scope.clock().advance(Duration::from_secs(1));
        guarded("one address", true);
    }
    assert_eq!(admitted, 2);
}
