//! Ways to a server: sockets, TLS, databases, and clients that the user made.

use ratelimit_backends::redis::{RedisBackend, RedisBuilder};
use ratelimit_core::{Algorithm, Backend, ErrorKind};
use ratelimit_tests::servers::cluster::Cluster;
use ratelimit_tests::servers::redis::Redis;
use ratelimit_tests::servers::sentinel::Sentinel;
use ratelimit_tests::servers::tls::{Certificates, Identity};
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{ClientTlsConfig, TlsCertificates};

use super::{PATIENCE, decide, policy};

/// It decides, on connections of its own as well where it has them.
async fn decides(builder: RedisBuilder) {
    let backend = builder.timeout(PATIENCE).connect().await;
    let backend = backend.expect("it is there");
    let policy = policy(Algorithm::FixedWindow, "1/366d");
    assert!(decide(&backend, &policy, "k", 1).await.is_allowed());
    assert!(!decide(&backend, &policy, "k", 1).await.is_allowed());
    let bridged = backend.bridged().expect("every way can be gone twice");
    bridged.ping().await.expect("it is there as well");
}

#[tokio::test]
async fn a_unix_socket() {
    let server = Redis::options().unix_socket().password("word").start();
    decides(RedisBackend::builder(server.unix_url())).await;
    assert_eq!(server.ask("DBSIZE").trim(), ":1");
}

#[tokio::test]
async fn a_database_by_its_number() {
    let server = Redis::start();
    decides(RedisBackend::builder(format!("{}3", server.url()))).await;
    decides(RedisBackend::builder(server.url()).database(4)).await;
    let spaces = server.ask("INFO keyspace");
    assert!(spaces.contains("db3:keys=1"), "{spaces}");
    assert!(spaces.contains("db4:keys=1"), "{spaces}");
    let missing = RedisBackend::builder(server.url()).database(1_000);
    let error = missing.timeout(PATIENCE).connect().await.unwrap_err();
    assert!(error.message().contains("DB index"), "{error:?}");
}

fn trusting(authority: &str, client: Option<&Identity>) -> TlsCertificates {
    TlsCertificates {
        client_tls: client.map(|client| ClientTlsConfig {
            client_cert: client.certificate.clone().into_bytes(),
            client_key: client.key.clone().into_bytes(),
        }),
        root_cert: Some(authority.as_bytes().to_vec()),
    }
}

#[tokio::test]
async fn tls() {
    let server = Redis::options().tls().password("word").start();
    let own = &server.certificates().authority;
    let with = |certificates| RedisBackend::builder(server.tls_url()).certificates(certificates);
    decides(with(trusting(own, None))).await;
    // One that nobody vouches for, by the system's authorities or by another.
    for (by, builder) in [
        ("the system", RedisBackend::builder(server.tls_url())),
        (
            "another",
            with(trusting(&Certificates::new().authority, None)),
        ),
    ] {
        let error = builder.timeout(PATIENCE).connect().await;
        let error = error.expect_err(by);
        assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
        assert!(
            format!("{error:?}").to_lowercase().contains("certificate"),
            "{error:?}"
        );
    }
    let none = trusting("no certificate", None);
    let error = with(none).lazy().unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration: the authority is no certificate in PEM"
    );
}

#[tokio::test]
async fn tls_in_both_directions() {
    let server = Redis::options().mutual_tls().start();
    let own = server.certificates();
    let with = |certificates| RedisBackend::builder(server.tls_url()).certificates(certificates);
    decides(with(trusting(&own.authority, Some(&own.client)))).await;
    let error = with(trusting(&own.authority, None));
    let error = error.timeout(PATIENCE).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
}

#[tokio::test]
async fn clients_that_the_user_made() {
    let server = Redis::start();
    let client = redis::Client::open(server.url()).unwrap();
    decides(RedisBackend::with_client(client)).await;
    let cluster = Cluster::of(&Redis::options().password("word"), 0);
    let nodes = cluster.urls().into_iter().map(redis::Client::open);
    let nodes: Vec<_> = nodes.collect::<Result<_, _>>().unwrap();
    decides(RedisBackend::with_cluster_clients(nodes)).await;
    decides(RedisBackend::cluster(cluster.urls()).prefix("by url")).await;
    let sentinel = Sentinel::start();
    let urls = sentinel.sentinel_urls();
    decides(RedisBackend::with_sentinel_client(move |_| {
        let master = SentinelServerType::Master;
        SentinelClient::build(urls.clone(), Sentinel::SERVICE, None, master)
    }))
    .await;
}

#[test]
fn a_main_that_is_not_async() {
    let server = Redis::start();
    let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
    let backend = backend.connect_blocking().expect("it is there");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    drop(runtime);
    drop(backend);
    server.kill();
    let error = RedisBackend::connect_blocking(server.url()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    // Also where a runtime is at hand.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    server.restart();
    runtime.block_on(async {
        let backend = RedisBackend::builder(server.url()).timeout(PATIENCE);
        backend.connect_blocking().expect("it is there again");
    });
}
