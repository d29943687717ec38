//! What is said at start-up.

use core::time::Duration;

use mongodb::bson::doc;
use ratelimit_backends::mongodb::{Durability, MongoBackend, MongoBuilder};
use ratelimit_core::{
    Adjust, Algorithm, Backend, Charge, Check, Clock, Error, ErrorKind, Join, KeyBuf, Sweep,
    SystemClock, Timestamp,
};
use ratelimit_tests::servers::mongodb::MongoDb;

use super::{PATIENCE, admin, collection, connected, decide, policy};

async fn says(builder: MongoBuilder) -> Error {
    let error = builder.timeout(PATIENCE).connect().await;
    error.expect_err("it cannot be used")
}

#[tokio::test]
async fn passwords_and_rights() {
    let server = MongoDb::with_password("hidden");
    let backend = MongoBackend::connect(server.url()).await;
    backend.expect("the password is right").close().await;

    let error = says(MongoBackend::builder(
        server.url().replace("hidden", "hush"),
    ))
    .await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(!error.is_temporary());
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    let none = server.url().replace("root:hidden@", "");
    let error = says(MongoBackend::builder(none)).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");

    let client = admin(&server).await;
    for (user, role) in [("reader", "read"), ("writer", "readWrite")] {
        let roles = [doc! { "role": role, "db": "ratelimit" }];
        let user = doc! { "createUser": user, "pwd": "word", "roles": roles };
        client.run_command(user).await.expect("a user");
    }
    let url = |user: &str| {
        let url = server.url().replace("root:hidden", &format!("{user}:word"));
        format!("{url}&authSource=admin")
    };
    let error = says(MongoBackend::builder(url("reader"))).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.message().contains("create_index(false)"), "{error:?}");
    let error = says(MongoBackend::builder(url("reader")).create_index(false)).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let backend = MongoBackend::connect(url("writer")).await;
    backend.expect("these rights are enough").close().await;
}

#[tokio::test]
async fn an_index_that_is_another() {
    let server = MongoDb::start();
    let other = doc! {
        "createIndexes": "ratelimit",
        "indexes": [{ "key": { "expires": 1 }, "name": "mine", "expireAfterSeconds": 7 }],
    };
    let database = admin(&server).await.client().database("ratelimit");
    database.run_command(other).await.expect("an index");
    let error = says(MongoBackend::builder(server.url())).await;
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
    assert!(error.message().contains("create_index(false)"), "{error:?}");
    let backend = MongoBackend::builder(server.url()).create_index(false);
    backend
        .connect()
        .await
        .expect("it can be used")
        .close()
        .await;
}

/// What would forget keys, or take one for another.
#[tokio::test]
async fn a_collection_that_will_not_do() {
    let server = MongoDb::start();
    let database = admin(&server).await.client().database("ratelimit");
    for (name, options, what) in [
        (
            "capped",
            doc! { "capped": true, "size": 65_536 },
            "is capped",
        ),
        (
            "folded",
            doc! { "collation": { "locale": "en", "strength": 1 } },
            "has the collation `en`",
        ),
        (
            "view",
            doc! { "viewOn": "other", "pipeline": [] },
            "is a view",
        ),
        (
            "series",
            doc! { "timeseries": { "timeField": "expires" } },
            "is a timeseries",
        ),
    ] {
        let mut command = doc! { "create": name };
        command.extend(options);
        database.run_command(command).await.expect("a collection");
        let error = says(MongoBackend::builder(server.url()).collection(name)).await;
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
        assert!(error.message().contains(what), "{error:?}");
    }
    let simple = doc! { "create": "simple", "collation": { "locale": "simple" } };
    database.run_command(simple).await.expect("a collection");
    let backend = MongoBackend::builder(server.url()).collection("simple");
    backend.connect().await.expect("it will do").close().await;
}

/// What others ask with by the same URL.
#[tokio::test]
async fn what_a_url_says_of_reads_does_not_matter() {
    let server = MongoDb::start();
    let (one, other) = (KeyBuf::of("one"), KeyBuf::of("other"));
    let policy = policy(Algorithm::TokenBucket, "9/h");
    for (round, options) in [
        "readPreference=secondaryPreferred",
        "readPreference=secondary",
        "readConcernLevel=linearizable",
        "readConcernLevel=majority",
        "retryWrites=false&retryReads=false",
    ]
    .into_iter()
    .enumerate()
    {
        let url = server
            .url()
            .replace("directConnection=true", "replicaSet=rs0");
        let builder = MongoBackend::builder(format!("{url}&{options}")).timeout(PATIENCE);
        let backend = builder.connect().await.expect(options);
        let checks = [&one, &other].map(|key| Check::new(&policy, policy.limits(), key.as_ref()));
        for answer in backend.decide(&checks, Join::All).await {
            let left = answer.expect(options).remaining();
            assert_eq!(usize::try_from(left), Ok(8 - round), "{options}");
        }
        backend.close().await;
    }
}

#[tokio::test]
async fn nobody_is_there() {
    let url = "mongodb://127.0.0.1:1/?directConnection=true";
    let builder = MongoBackend::builder(url).connect_timeout(Duration::from_millis(300));
    let lazy = builder.clone().lazy().expect("options that can be");
    let error = builder.connect().await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(error.is_temporary());
    // Who asks is told so as well, and not that it took too long.
    let error = decide(&lazy, &policy(Algorithm::Gcra, "1/s"), "k", 1).await;
    let error = error.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(error.message().contains("127.0.0.1:1"), "{error:?}");
}

/// Whoever is there instead waits for more, or hangs up.
#[tokio::test]
async fn what_is_no_mongodb() {
    let redis = ratelimit_tests::servers::redis::Redis::start();
    let memcached = ratelimit_tests::servers::memcached::Memcached::start();
    for port in [redis.port(), memcached.port()] {
        let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
        let builder = MongoBackend::builder(url).connect_timeout(Duration::from_millis(300));
        let error = builder.connect().await.expect_err("it is none");
        assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
        assert!(error.message().contains(&port.to_string()), "{error:?}");
    }
}

/// The index is the server's business: what is over goes without anybody asking for it.
#[tokio::test]
async fn what_is_over_is_removed() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    let documents = collection(&server).await;
    for algorithm in Algorithm::ALL {
        let short = policy(algorithm, "5/50ms");
        decide(&backend, &short, "short", 1)
            .await
            .expect("a decision");
        let long = policy(algorithm, "5/h");
        decide(&backend, &long, "long", 1)
            .await
            .expect("a decision");
    }
    let without = doc! { "expires": { "$not": { "$type": "date" } } };
    let lasting = documents.count_documents(without).await.expect("a count");
    assert_eq!(lasting, 0, "there is no document without an end");
    let started = std::time::Instant::now();
    while documents.count_documents(doc! {}).await.expect("a count") > 6 {
        assert!(started.elapsed() < PATIENCE * 2, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A document stays for as long as it counts, and a minute longer at most; whoever wrote it.
#[tokio::test]
async fn what_counts_stays() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    let documents = collection(&server).await;
    let minute = Duration::from_mins(1);
    for algorithm in Algorithm::ALL {
        for limits in ["5/h", "2/d, 7_999/8s", "3/366d"] {
            documents.delete_many(doc! {}).await.expect("an answer");
            let policy = policy(algorithm, limits);
            let key = KeyBuf::of("k");
            let check = Check::new(&policy, policy.limits(), key.as_ref());
            // One by itself, several together, and a correction.
            for round in 0..3 {
                let before = SystemClock.now();
                let last = match round {
                    0 => decide(&backend, &policy, "k", 1).await,
                    1 => backend.decide(&[check; 2], Join::Each).await.remove(1),
                    _ => {
                        let more = Adjust::new(check, Charge::new(before, 0), 1);
                        backend.adjust(&[more]).await.remove(0)
                    }
                };
                let last = last.expect("a decision");
                let lasts = last.quotas().map(|it| it.reset_after).max();
                let lasts = lasts.expect("a quota");
                let after = SystemClock.now();
                let found = documents.find_one(doc! {}).await.expect("an answer");
                let found = found.expect("a document");
                let expires = found.get_datetime("expires").expect("an end");
                let expires = u64::try_from(expires.timestamp_millis()).expect("after 1970");
                let expires = Timestamp::from_unix(Duration::from_millis(expires));
                // The server counts in milliseconds.
                let tick = Duration::from_millis(1);
                let what = format!("{algorithm} {limits} {round}");
                assert!(expires.plus(tick) >= before.plus(lasts), "{what}");
                assert!(expires <= after.plus(lasts + minute + tick), "{what}");
            }
        }
    }
}

/// Without the index, by hand.
#[tokio::test]
async fn what_is_over_is_swept() {
    let server = MongoDb::start();
    let backend = MongoBackend::builder(server.url()).create_index(false);
    let backend = backend.timeout(PATIENCE).connect().await;
    let backend = backend.expect("it is there");
    let (short, long) = (
        policy(Algorithm::Gcra, "5/20ms"),
        policy(Algorithm::FixedWindow, "5/366d"),
    );
    for key in 0..10 {
        let key = key.to_string();
        for policy in [&short, &long] {
            let decision = decide(&backend, policy, &key, 1).await;
            assert!(decision.expect("a decision").is_allowed());
        }
    }
    let sweep = Sweep::new().with_batch(3);
    let started = std::time::Instant::now();
    loop {
        let dry = backend.sweep(sweep.with_dry_run(true)).await;
        let dry = dry.expect("a sweep");
        assert_eq!(dry.removed + dry.kept, 20, "a dry run removes nothing");
        if dry.kept == 10 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "they stay");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let swept = backend.sweep(sweep).await.expect("a sweep");
    assert_eq!((swept.removed, swept.kept), (10, 10));
    let again = backend.sweep(sweep).await.expect("a sweep");
    assert_eq!((again.removed, again.kept), (0, 10));
}

#[tokio::test]
async fn documents_that_somebody_else_wrote() {
    let server = MongoDb::start();
    let backend = connected(&server).await;
    let documents = collection(&server).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "3/h");
        let name = |key: &str| format!("ratelimit:{{t%05{key}}}:p:{}", algorithm.name());
        for (key, garbage) in [
            ("other", doc! { "hello": "world" }),
            ("types", doc! { "v": 1_i64, "a": "x" }),
            (
                "words",
                doc! { "v": 1_i64, "a": i32::from(algorithm.number()), "p1": 3_600_000_000_000_i64, "w1": "x", "r1": 0_i64, "o1": 1_i64 },
            ),
            (
                "whole",
                doc! { "v": 1_i64, "a": i32::from(algorithm.number()), "s": "x" },
            ),
        ] {
            let mut garbage = garbage;
            let name = name(key);
            garbage.insert("_id", &name);
            documents
                .insert_one(garbage.clone())
                .await
                .expect("a document");
            let error = decide(&backend, &policy, key, 1).await;
            let error = error.expect_err("it is no state");
            assert_eq!(
                error.kind(),
                ErrorKind::Protocol,
                "{algorithm} {key}: {error:?}"
            );
            let kept = documents.find_one(doc! { "_id": &name }).await;
            assert_eq!(kept.expect("an answer"), Some(garbage), "it is left alone");
        }
        // The others of a batch are answered.
        let keys = [KeyBuf::of("other"), KeyBuf::of("fresh")];
        let checks = keys
            .each_ref()
            .map(|key| Check::new(&policy, policy.limits(), key.as_ref()));
        let answers = backend.decide(&checks, Join::Each).await;
        let good: Vec<_> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(good, [false, true], "{algorithm}");
        // A reset makes them usable.
        backend.reset(&checks).await.expect("a reset");
        assert!(decide(&backend, &policy, "other", 1).await.is_ok());
    }
    let swept = backend.sweep(Sweep::new().with_batch(3)).await;
    assert_eq!(swept.expect("a sweep").removed, 0);
}

#[tokio::test]
async fn every_durability() {
    let server = MongoDb::start();
    let policy = policy(Algorithm::TokenBucket, "3/h");
    for durability in [
        Durability::Primary,
        Durability::Journal,
        Durability::Majority,
    ] {
        let backend = MongoBackend::builder(server.url()).durability(durability);
        let backend = backend
            .timeout(PATIENCE)
            .connect()
            .await
            .expect("it is there");
        let decision = decide(&backend, &policy, "k", 1).await.expect("a decision");
        assert!(decision.is_allowed());
        backend.close().await;
    }
    let more = format!("{}&w=3&wtimeoutMS=100", server.url());
    let error = says(MongoBackend::builder(more)).await;
    assert!(
        matches!(error.kind(), ErrorKind::Configuration | ErrorKind::Timeout),
        "{error:?}"
    );
}

#[tokio::test]
async fn without_transactions_one_key_is_one_decision() {
    let server = MongoDb::standalone();
    let backend = connected(&server).await;
    let (one, other) = (
        policy(Algorithm::Gcra, "3/h"),
        policy(Algorithm::FixedWindow, "3/h"),
    );
    let key = KeyBuf::of("k");
    let check = |policy| Check::new(policy, ratelimit_core::Policy::limits(policy), key.as_ref());
    for answer in backend.decide(&[check(&one), check(&one)], Join::All).await {
        assert!(answer.expect("a decision").is_allowed());
    }
    for answer in backend
        .decide(&[check(&one), check(&other)], Join::All)
        .await
    {
        let error = answer.expect_err("there are no transactions");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
    for answer in backend.peek(&[check(&one)]).await {
        assert_eq!(answer.expect("a decision").remaining(), 1);
    }
}

#[test]
fn options_that_cannot_be() {
    let with = || MongoBackend::builder("mongodb://127.0.0.1/");
    for (builder, says) in [
        (MongoBackend::builder("secret@host"), "has to begin with"),
        (
            MongoBackend::builder("mongodb://user:secret@"),
            "the URL is wrong",
        ),
        (
            MongoBackend::builder("mongodb://user:sec%zzret@host/"),
            "the URL is wrong",
        ),
        (
            MongoBackend::builder("mongodb://user:se/cret@host/"),
            "the URL is wrong",
        ),
        (
            MongoBackend::builder("mongodb://:sec/ret:cret@host/"),
            "the URL is wrong",
        ),
        (
            MongoBackend::builder("mongodb://sec:se%63ret@host:cret/"),
            "the URL is wrong",
        ),
        (MongoBackend::builder("mongodb://host/?w=0"), "w=0"),
        (with().timeout(Duration::ZERO), "a timeout of zero"),
        (with().connections(0), "connections is 0"),
        (with().in_flight(0), "in_flight is 0"),
        (with().collection("a$b"), "the collection is"),
        (with().collection("system.users"), "the collection is"),
        (with().collection(""), "the collection is"),
        (with().database("a/b"), "the database is"),
        (with().prefix("it's"), "the prefix is"),
        (with().prefix("p".repeat(96)), "95 letters"),
        (with().max_log(100_001), "up to 100000"),
    ] {
        let debug = format!("{builder:?}");
        assert!(!debug.contains("secret"), "{debug}");
        let error = builder.lazy().expect_err(says);
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
        assert!(error.message().contains(says), "{error:?}");
        for secret in ["secret", "cret", "sec%"] {
            assert!(!error.message().contains(secret), "{error:?}");
        }
    }
}
