//! What is checked at start-up: each server that will not do is told from the others.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use ratelimit_backends::redis::{RedisBackend, RedisBuilder};
use ratelimit_core::{Algorithm, Backend, Error, ErrorKind};
use ratelimit_tests::servers::cluster::Cluster;
use ratelimit_tests::servers::redis::Redis;
use ratelimit_tests::servers::sentinel::Sentinel;

use super::{PATIENCE, decide, policy};

async fn refused(builder: RedisBuilder) -> Error {
    let error = builder.timeout(PATIENCE).connect().await;
    error.expect_err("it will not do")
}

/// Listens, and answers each line with the same.
fn impostor(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                if stream.write_all(answer(&line).as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    format!("redis://127.0.0.1:{port}/?protocol=resp2")
}

#[tokio::test]
async fn what_is_no_redis() {
    let web = impostor(|_| "HTTP/1.1 400 Bad Request\r\n\r\n".into());
    let error = refused(RedisBackend::builder(web)).await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
    let rude = impostor(|_| "-ERR no\r\n".into());
    let error = refused(RedisBackend::builder(rude)).await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
}

/// Servers that do not know a command repeat its arguments; others may do so for no reason at all.
#[tokio::test]
async fn what_repeats_a_password() {
    const PASSWORD: &str = "never-to-be-seen";
    let says = [
        format!(
            "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `{PASSWORD}`"
        ),
        format!("-WRONGPASS {PASSWORD} is wrong"),
        format!("-{PASSWORD} {PASSWORD}"),
        format!("!3\r\n{PASSWORD}"),
        format!("+{PASSWORD}"),
    ];
    for said in says {
        let answer = said.clone();
        let url = impostor(move |_| format!("{answer}\r\n"));
        for protocol in ["resp2", "resp3"] {
            let url = url.replace("resp2", protocol);
            let with_password = url.replace("redis://", &format!("redis://:{PASSWORD}@"));
            let sentinel = RedisBackend::sentinel([url.clone()], "master");
            let builders = [
                RedisBackend::builder(with_password.clone()),
                RedisBackend::builder(url.clone()).password(PASSWORD),
                RedisBackend::cluster([with_password.clone()]),
                RedisBackend::sentinel([with_password], "master"),
                sentinel.password(PASSWORD),
            ];
            for builder in builders {
                let error = refused(builder.connect_timeout(PATIENCE)).await;
                let mut next: Option<&dyn std::error::Error> = Some(&error);
                while let Some(error) = next {
                    let text = format!("{error} {error:?}");
                    assert!(!text.contains(PASSWORD), "{said}: {text}");
                    next = error.source();
                }
            }
        }
    }
}

/// A server of that version, which answers nothing but who it is.
fn of_version(version: &'static str) -> String {
    impostor(move |line| match line {
        "HELLO" => {
            let fields = ["server", "redis", "version", version, "mode", "standalone"];
            let fields = fields.map(|field| format!("${}\r\n{field}\r\n", field.len()));
            format!("*6\r\n{}", fields.concat())
        }
        // The client says who it is.
        "CLIENT" => "+OK\r\n".into(),
        "EVALSHA" => "-ERR as far as this goes\r\n".into(),
        _ => String::new(),
    })
}

#[tokio::test]
async fn what_is_too_old() {
    let error = refused(RedisBackend::builder(of_version("6.0.16"))).await;
    assert_eq!(
        error.to_string(),
        "unsupported: the server is version 6.0.16; Redis 6.2 or later, or Valkey, is needed"
    );
    let unknown = impostor(|line| match line {
        "HELLO" => "-ERR unknown command `HELLO`, with args beginning with: \r\n".into(),
        "CLIENT" => "+OK\r\n".into(),
        _ => String::new(),
    });
    let error = refused(RedisBackend::builder(unknown)).await;
    assert_eq!(
        error.to_string(),
        "unsupported: the server does not know `HELLO`; Redis 6.2 or later, or Valkey, is needed"
    );
    // Young enough, it is asked more.
    let error = refused(RedisBackend::builder(of_version("6.2.0"))).await;
    assert!(error.message().contains("as far as this goes"), "{error:?}");
}

#[tokio::test]
async fn a_server_of_another_kind() {
    let cluster = Cluster::start();
    let node = cluster.urls().swap_remove(0);
    let error = refused(RedisBackend::builder(&node)).await;
    assert_eq!(
        error.to_string(),
        "configuration: the server is a node of a Redis Cluster: `RedisBackend::cluster` can be used there"
    );
    let sentinel = Sentinel::start();
    let first = sentinel.sentinel_urls().swap_remove(0);
    let error = refused(RedisBackend::builder(&first)).await;
    assert_eq!(
        error.to_string(),
        "configuration: the server is a Sentinel: `RedisBackend::sentinel` can be used there"
    );
    let standalone = Redis::start();
    let error = refused(RedisBackend::cluster([standalone.url()])).await;
    assert!(error.message().contains("cluster"), "{error:?}");
    // A service that the Sentinels do not know, and a Sentinel that is none.
    let error = refused(RedisBackend::sentinel(sentinel.sentinel_urls(), "nobody")).await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(error.message().to_lowercase().contains("master"), "{error}");
    let error = refused(RedisBackend::sentinel(
        [standalone.url()],
        Sentinel::SERVICE,
    ))
    .await;
    assert!(error.message().contains("sentinel"), "{error:?}");
    let replica = &sentinel.servers()[1];
    let error = refused(RedisBackend::builder(replica.url())).await;
    assert_eq!(
        error.to_string(),
        "refused: the server is a replica, which cannot be written to"
    );
}

#[tokio::test]
async fn every_right_that_is_missing() {
    let server = Redis::start();
    // All that is needed, and nothing else.
    let needed = ["evalsha", "eval", "get", "set", "del", "time", "pttl"];
    let rights: String = needed.map(|command| format!(" +{command}")).concat();
    let user = |without: Option<&str>| {
        let without = without.map_or(String::new(), |command| format!(" -{command}"));
        let user = format!("ACL SETUSER limiter reset on >word ~ratelimit:*{rights}{without}");
        assert_eq!(server.ask(&user).trim(), "+OK", "{user}");
    };
    let limiter = || {
        RedisBackend::builder(server.url())
            .username("limiter")
            .password("word")
            .timeout(PATIENCE)
    };
    user(None);
    let backend = limiter().connect().await.expect("it has all rights");
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "2/h, 3/d");
        assert_eq!(decide(&backend, &policy, "k", 1).await.remaining(), 1);
        assert_eq!(decide(&backend, &policy, "k", 0).await.remaining(), 1);
    }
    backend.ping().await.expect("it says which version it is");
    for command in needed {
        if command == "eval" {
            // The server knows the scripts by now.
            server.ask("SCRIPT FLUSH");
        }
        user(Some(command));
        let error = limiter().connect().await;
        let error = error.expect_err(command);
        assert_eq!(error.kind(), ErrorKind::Refused, "{command} {error:?}");
    }
    user(None);
    limiter().connect().await.expect("it has all again");
    let elsewhere = limiter().prefix("elsewhere").connect().await;
    let error = elsewhere.expect_err("not with these keys");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let error = limiter().password("hunter2").connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_whose_memory_is_full() {
    let full = ["--maxmemory", "1", "--maxmemory-policy", "noeviction"];
    let server = Redis::options().arguments(full).start();
    let error = refused(RedisBackend::builder(server.url())).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.message().contains("maxmemory"), "{error:?}");
}

#[test]
fn options_that_make_no_sense() {
    let builder = || RedisBackend::builder("redis://127.0.0.1/");
    let millis = core::time::Duration::from_millis;
    let wrong = |builder: RedisBuilder| {
        let error = builder.lazy().expect_err("it makes no sense");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.message().to_owned()
    };
    let zero = millis(0);
    assert_eq!(
        wrong(builder().timeout(zero)),
        "a timeout of zero leaves no time for an answer"
    );
    assert_eq!(
        wrong(builder().connect_timeout(zero)),
        "a connect_timeout of zero leaves no time for an answer"
    );
    assert_eq!(
        wrong(builder().in_flight(0)),
        "in_flight is 0, and has to be 1 or more"
    );
    wrong(builder().max_batch(0));
    wrong(builder().max_waiting(0));
    wrong(builder().connections(0));
    assert_eq!(
        wrong(builder().connections(65)),
        "connections is 65, and can be 64 at most"
    );
    assert_eq!(
        wrong(builder().back_off(millis(2), millis(1))),
        "the back-off goes from 2ms to 1ms, and has to go upwards"
    );
    assert_eq!(
        wrong(RedisBackend::cluster(Vec::<String>::new())),
        "at least one URL of a node of the cluster is needed"
    );
    assert_eq!(
        wrong(RedisBackend::sentinel(Vec::<String>::new(), "service")),
        "at least one URL of a Sentinel is needed"
    );
    assert_eq!(
        wrong(RedisBackend::cluster(["redis://127.0.0.1/"]).database(1)),
        "a Redis Cluster has database 0 alone"
    );
    wrong(RedisBackend::cluster(["redis://127.0.0.1/1"]));
    assert_eq!(
        wrong(RedisBackend::cluster(["redis+unix:///a/socket"])),
        "the nodes of a Redis Cluster are reached over TCP alone"
    );
    let client = redis::Client::open("redis://127.0.0.1/").unwrap();
    assert_eq!(
        wrong(RedisBackend::with_client(client).password("word")),
        "user, password, database and certificates have to be set in the client itself"
    );
    for url in ["", "http://127.0.0.1/", "redis://", "127.0.0.1:6379"] {
        let error = wrong(RedisBackend::builder(url));
        assert!(error.contains("no URL of a Redis server"), "{url} {error}");
    }
}
