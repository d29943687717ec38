//! The server's clock steps back in the middle of a decision.

use ratelimit_backends::sql::SqlBackend;
use ratelimit_core::{Algorithm, Backend, Check, Join, KeyBuf, Policy};
use ratelimit_tests::servers::postgres::Postgres;

use super::PATIENCE;

/// PostgreSQL reads the clock for a row that may be new, for the condition, and for what is stored.
#[tokio::test]
async fn a_step_back_between_the_condition_and_what_is_stored() {
    let server = Postgres::start();
    server.ask("CREATE SCHEMA odd");
    server.ask("CREATE SEQUENCE odd.reads");
    // An hour back, once.
    server.ask(
        "CREATE FUNCTION odd.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
         'SELECT pg_catalog.clock_timestamp() - CASE nextval(''odd.reads'') WHEN 3 THEN interval ''1 hour'' ELSE interval ''0'' END'",
    );
    let url = format!(
        "{}?options=-csearch_path%3Dodd,pg_catalog,public",
        server.url()
    );
    let backend = SqlBackend::builder(url).table("public.ratelimit");
    let backend = backend
        .timeout(PATIENCE)
        .connect()
        .await
        .expect("it is there");
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::Gcra,
        Algorithm::LeakyBucket,
    ] {
        let policy = Policy::new("p", algorithm, "3/366d".parse().unwrap());
        let key = KeyBuf::of("k");
        let check = Check::new(&policy, policy.limits(), key.as_ref());
        let decide = async || backend.decide(&[check], Join::Each).await.remove(0);
        decide().await.expect("a decision");
        decide().await.expect("a decision");
        server.ask("ALTER SEQUENCE odd.reads RESTART");
        let last = decide().await.expect("a decision");
        assert_eq!(
            server.ask("SELECT last_value > 3 FROM odd.reads").trim(),
            "t",
            "it was asked again"
        );
        assert!(last.is_allowed(), "{algorithm}");
        assert!(
            !decide().await.expect("a decision").is_allowed(),
            "{algorithm}"
        );
    }
}
