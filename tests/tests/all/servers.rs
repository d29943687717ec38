//! The servers that tests start are what they say they are.

use core::time::Duration;
use std::fs;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ratelimit_tests::servers::cluster::Cluster;
use ratelimit_tests::servers::proxy::{Line, Proxy};
use ratelimit_tests::servers::redis::Redis;
use ratelimit_tests::servers::sentinel::Sentinel;
use ratelimit_tests::servers::tls::{Certificates, Identity};
use ratelimit_tests::servers::valkey::Valkey;

#[test]
fn a_server_is_killed_frozen_and_started_again() {
    let server = Redis::start();
    assert_eq!(server.ask("SET k 1"), "+OK\r\n");
    let folder = server.ask("CONFIG GET dir");
    let folder = folder.lines().last().expect("a folder").to_owned();
    server.freeze();
    assert!(!server.is_up());
    server.thaw();
    assert_eq!(server.ask("GET k"), "$1\r\n1\r\n");
    server.restart();
    assert_eq!(server.ask("GET k"), "$-1\r\n");
    server.kill();
    assert!(server.try_ask("PING").is_err());
    server.restart();
    assert_eq!(server.ask("PING"), "+PONG\r\n");
    let port = server.port();
    drop(server);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    assert!(!Path::new(&folder).exists(), "{folder}");
}

#[test]
fn a_server_is_started_as_the_options_say() {
    let memory = ["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"];
    let master = Redis::options().arguments(memory).password("secret");
    let master = master.unix_socket().start();
    assert!(master.url().starts_with("redis://:secret@"));
    assert!(
        master
            .ask("CONFIG GET maxmemory")
            .ends_with("\r\n2097152\r\n")
    );
    assert_eq!(master.ask("SET k 1"), "+OK\r\n");
    let replica = Redis::options().password("secret").replica_of(&master);
    let replica = replica.start();
    replica.catch_up_with(&master);
    assert_eq!(replica.ask("GET k"), "$1\r\n1\r\n");

    let url = master.unix_url();
    let path = url.strip_prefix("redis+unix://").expect("a socket");
    let path = path.strip_suffix("?pass=secret").expect("a password");
    let mut socket = UnixStream::connect(path).expect("it listens");
    socket.write_all(b"PING\r\n").expect("it reads");
    let mut refusal = [0; 7];
    socket.read_exact(&mut refusal).expect("it answers");
    assert_eq!(&refusal, b"-NOAUTH");
}

#[test]
fn a_long_answer_is_read_to_its_end() {
    let server = Redis::start();
    let value = "x".repeat(50_000);
    server.ask(&format!("SET k {value}"));
    let one = format!("$50000\r\n{value}\r\n");
    assert_eq!(server.ask("GET k"), one);
    assert_eq!(
        server.ask("MGET k none k"),
        format!("*3\r\n{one}$-1\r\n{one}")
    );
}

#[test]
fn a_server_speaks_tls_to_who_trusts_it() {
    let open = Redis::options().tls().start();
    let mutual = Redis::options().mutual_tls().start();
    let other = Certificates::new();
    let folder = std::env::temp_dir().join(format!("ratelimit-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let ask = |server: &Redis, authority: &str, client: Option<&Identity>| {
        let file = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).expect("a file");
            file
        };
        let mut client_of_redis = Command::new("redis-cli");
        client_of_redis.args(["-u", &server.tls_url(), "--cacert"]);
        client_of_redis.arg(file("authority", authority));
        if let Some(client) = client {
            let certificate = file("certificate", &client.certificate);
            client_of_redis.arg("--cert").arg(certificate);
            client_of_redis.arg("--key").arg(file("key", &client.key));
        }
        let output = client_of_redis.arg("PING").output().expect("redis-cli");
        output.stdout == b"PONG\n"
    };
    let certificates = open.certificates();
    assert!(ask(&open, &certificates.authority, None));
    assert!(!ask(&open, &other.authority, None), "another's authority");
    let certificates = mutual.certificates();
    assert!(ask(
        &mutual,
        &certificates.authority,
        Some(&certificates.client)
    ));
    assert!(!ask(&mutual, &certificates.authority, None));
    assert!(!ask(&mutual, &certificates.authority, Some(&other.client)));
    assert_eq!(
        mutual.ask("PING"),
        "+PONG\r\n",
        "without TLS on its other port"
    );
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn valkey_is_no_redis() {
    let server = Valkey::start();
    let info = server.ask("INFO server");
    assert!(info.contains("server_name:valkey"), "{info}");
    assert_eq!(server.ask("SET k 1"), "+OK\r\n");
    server.restart();
    assert_eq!(server.ask("GET k"), "$-1\r\n");
}

#[test]
fn a_cluster_moves_a_slot() {
    let cluster = Cluster::start();
    assert_eq!(cluster.urls().len(), 3);
    let slot = cluster.slot_of("{tag}a");
    assert_eq!(
        slot,
        cluster.slot_of(b"{tag}\r\n b"),
        "by what is in braces"
    );
    let from = cluster.node_of(slot);
    let to = (from + 1) % 3;
    for key in ["{tag}a", "{tag}b"] {
        assert_eq!(cluster.ask(from, &format!("SET {key} 1")), "+OK\r\n");
    }
    let moved = cluster.ask(to, "GET {tag}a");
    assert!(moved.starts_with(&format!("-MOVED {slot} ")), "{moved}");

    cluster.begin_move(slot, from, to);
    assert_eq!(cluster.ask(from, "GET {tag}a"), "$1\r\n1\r\n");
    cluster.move_key("{tag}a", from, to);
    let ask = cluster.ask(from, "GET {tag}a");
    assert!(ask.starts_with(&format!("-ASK {slot} ")), "{ask}");
    let half = cluster.ask(from, "MGET {tag}a {tag}b");
    assert!(half.starts_with("-TRYAGAIN"), "{half}");
    assert_eq!(cluster.node_of(slot), from);

    cluster.finish_move(slot, from, to);
    assert_eq!(cluster.node_of(slot), to);
    assert_eq!(
        cluster.ask(to, "MGET {tag}a {tag}b"),
        "*2\r\n$1\r\n1\r\n$1\r\n1\r\n"
    );
    for other in [from, (from + 2) % 3] {
        let moved = cluster.ask(other, "GET {tag}a");
        let port = cluster.node(to).port();
        assert_eq!(moved, format!("-MOVED {slot} 127.0.0.1:{port}\r\n"));
    }
}

#[test]
fn a_cluster_survives_a_master() {
    let cluster = Cluster::of(&Redis::options().password("secret"), 1);
    let slot = cluster.slot_of("k");
    let old = cluster.node_of(slot);
    let to = (old + 1) % 3;
    cluster.ask(old, "SET k 1");
    cluster.move_slot(slot, old, to);
    cluster.node(3 + to).catch_up_with(cluster.node(to));
    cluster.node(to).kill();
    assert!(cluster.node(to).try_ask("PING").is_err());
    let new = cluster.wait_for_failover(slot, to);
    assert!(new >= 3, "a replica: {new}");
    assert_eq!(cluster.ask(new, "GET k"), "$1\r\n1\r\n");
    cluster.node(to).restart();
    cluster.wait_until_complete();
    assert_eq!(cluster.node_of(slot), new);
}

#[test]
fn sentinels_name_a_new_master() {
    let sentinel = Sentinel::of(&Redis::options().password("secret"));
    assert_eq!(sentinel.sentinel_urls().len(), 3);
    let old = sentinel.kill_master();
    assert_eq!(old.port(), sentinel.servers()[0].port());
    let new = sentinel.wait_for_failover(old);
    assert_eq!(new.port(), sentinel.master().port());
    assert_eq!(new.port(), sentinel.servers()[1].port());
    assert_eq!(new.ask("SET k 1"), "+OK\r\n");
}

/// Says something on a connection, and returns so much of the answer.
fn say(mut stream: &TcpStream, command: &str, length: usize) -> std::io::Result<String> {
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn a_line_delays_holds_and_breaks() {
    const SHORT: Duration = Duration::from_millis(200);
    let server = Redis::start();
    let proxy = Proxy::before(server.port());
    assert!(proxy.url().ends_with(&format!(":{}/", proxy.port())));
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()));
    let ping = |connection: &TcpStream| say(connection, "PING", 7);
    let is_reset =
        |error: &Error| [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind());
    let connection = connect().expect("it listens");
    assert_eq!(ping(&connection).unwrap(), "+PONG\r\n");

    proxy.set(Line::Delay(SHORT));
    let started = Instant::now();
    assert_eq!(ping(&connection).unwrap(), "+PONG\r\n");
    assert!(started.elapsed() >= SHORT);

    proxy.set(Line::Blackhole);
    connection.set_read_timeout(Some(SHORT)).unwrap();
    let error = say(&connection, "INCR k", 4).expect_err("nothing comes");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(connect().is_ok(), "it accepts");
    assert_eq!(server.ask("EXISTS k"), ":0\r\n");
    proxy.set(Line::Pass);
    connection.set_read_timeout(None).unwrap();
    assert_eq!(say(&connection, "INCR k", 8).unwrap(), ":1\r\n:2\r\n");

    proxy.set(Line::Reset);
    assert!(is_reset(&ping(&connection).expect_err("it was reset")));
    let error = connect().and_then(|it| ping(&it)).expect_err("it is reset");
    assert!(is_reset(&error), "{error}");

    proxy.set(Line::Refuse);
    let error = connect().expect_err("nothing listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    proxy.set(Line::CutAfter(10));
    let connection = connect().expect("it listens again");
    assert_eq!(ping(&connection).unwrap(), "+PONG\r\n");
    assert_eq!(say(&connection, "PING", 3).unwrap(), "+PO");
    assert!(connection.peek(&mut [0]).is_ok_and(|left| left == 0));

    proxy.set(Line::Pass);
    let connection = connect().expect("it listens");
    assert_eq!(ping(&connection).unwrap(), "+PONG\r\n");
    proxy.set(Line::CutAfter(0));
    let error = say(&connection, "INCR k", 4).expect_err("the answer is lost");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(server.ask("GET k"), "$1\r\n3\r\n", "it was done");
}

#[tokio::test]
async fn a_line_ends_where_blocking_is_not_allowed() {
    let server = Redis::start();
    let proxy = Proxy::before(server.port());
    proxy.set(Line::Refuse);
}
