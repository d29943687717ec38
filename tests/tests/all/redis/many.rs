//! Several clients, several processes, and clocks that do not agree: one budget.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use ratelimit_backends::redis::RedisBackend;
use ratelimit_core::{Algorithm, Backend, KeyBuf, Policy};
use ratelimit_tests::servers::cluster::Cluster;
use ratelimit_tests::servers::redis::Redis;

use super::{PATIENCE, decide, policy};

const LIMIT: u32 = 500;

fn limited(algorithm: Algorithm) -> Policy {
    policy(algorithm, &format!("{LIMIT}/366d"))
}

async fn at(url: &str) -> RedisBackend {
    let cluster: Vec<&str> = url.split(',').collect();
    let builder = match cluster[..] {
        [one] => RedisBackend::builder(one),
        _ => RedisBackend::cluster(cluster),
    };
    builder
        .timeout(PATIENCE)
        .connect()
        .await
        .expect("it is there")
}

/// Takes all that it can get, in several tasks at once, and says how much that was of each algorithm.
async fn take(backend: Arc<RedisBackend>) -> Vec<u32> {
    let mut taken = Vec::new();
    for algorithm in Algorithm::ALL {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move {
                    let policy = limited(algorithm);
                    let mut taken = 0;
                    while decide(&backend, &policy, "shared", 1).await.is_allowed() {
                        taken += 1;
                    }
                    taken
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.expect("decisions");
        }
        taken.push(sum);
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_share_a_server() {
    let (server, cluster) = (Redis::start(), Cluster::start());
    for url in [server.url(), cluster.urls().join(",")] {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(tokio::spawn(take(Arc::new(at(&url).await))));
        }
        let mut taken = vec![0; Algorithm::ALL.len()];
        for client in clients {
            for (sum, of_client) in taken.iter_mut().zip(client.await.unwrap()) {
                *sum += of_client;
            }
        }
        assert_eq!(taken, vec![LIMIT; Algorithm::ALL.len()]);
    }
}

/// Where the other processes find the server.
const SERVER: &str = "RATELIMIT_TEST_SERVER";

/// What the other processes do; nothing in the process of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process() {
    if let Ok(url) = std::env::var(SERVER) {
        let taken = take(Arc::new(at(&url).await)).await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        println!("taken {taken:?} at {}", now.unwrap().as_secs());
    }
}

/// Starts this program again to do that, with its clock ahead or behind.
fn start(url: &str, clock: Option<&str>) -> std::process::Child {
    let program = std::env::current_exe().expect("a path");
    let mut command = match clock {
        None => Command::new(program),
        Some(clock) => {
            let mut command = Command::new("faketime");
            command.args(["-f", clock]).arg(program);
            command
        }
    };
    command
        .args(["--exact", "redis::many::another_process", "--nocapture"])
        .env(SERVER, url)
        .stdout(Stdio::piped());
    let child = command.spawn();
    child.expect("`faketime` is missing: apt-get install -y --no-install-recommends faketime")
}

/// What it took, and what it takes the time to be.
fn outcome(child: std::process::Child) -> (Vec<u32>, u64) {
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let (_, said) = said.split_once("taken [").expect("what it took");
    let (taken, now) = said.split_once("] at ").expect("the time");
    let taken = taken.split(", ").map(|it| it.parse().unwrap()).collect();
    let now = now.lines().next().expect("a line").trim();
    (taken, now.parse().unwrap())
}

#[test]
fn processes_whose_clocks_are_hours_apart_share_a_server() {
    let server = Redis::start();
    let children = [None, Some("+1h"), Some("-1h")].map(|clock| start(&server.url(), clock));
    let outcomes = children.map(outcome);
    let mut taken = vec![0; Algorithm::ALL.len()];
    for (of_process, _) in &outcomes {
        for (sum, of_process) in taken.iter_mut().zip(of_process) {
            *sum += of_process;
        }
    }
    assert_eq!(taken, vec![LIMIT; Algorithm::ALL.len()]);
    let [real, ahead, behind] = outcomes.map(|(_, now)| now);
    assert!(
        ahead > real + 3_000 && behind < real - 3_000,
        "the clocks were apart"
    );
}

#[test]
fn clocks_that_are_hours_apart_give_the_same_answers() {
    let server = Redis::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let backend = runtime.block_on(at(&server.url()));
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "3/365d, 5/366d");
        runtime.block_on(async {
            for _ in 0..3 {
                assert!(decide(&backend, &policy, "k", 1).await.is_allowed());
            }
        });
    }
    // Another process, an hour ahead, finds all of it used up.
    let program = std::env::current_exe().expect("a path");
    for clock in ["+1h", "-1h", "+30d"] {
        let output = Command::new("faketime")
            .args(["-f", clock])
            .arg(&program)
            .args(["--exact", "redis::many::an_hour_ahead", "--nocapture"])
            .env(SERVER, server.url())
            .output();
        let output = output.expect("`faketime` is installed");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("all denied"),
            "{said}"
        );
    }
}

/// What the other process does.
#[tokio::test]
async fn an_hour_ahead() {
    let Ok(url) = std::env::var(SERVER) else {
        return;
    };
    let backend = at(&url).await;
    for algorithm in Algorithm::ALL {
        let policy = policy(algorithm, "3/365d, 5/366d");
        let decision = decide(&backend, &policy, "k", 1).await;
        assert!(!decision.is_allowed(), "{algorithm} {decision:?}");
        let key = KeyBuf::of("k");
        let check = ratelimit_core::Check::new(&policy, policy.limits(), key.as_ref());
        let peeked = backend.peek(&[check]).await.remove(0).unwrap();
        assert_eq!(peeked.remaining(), 0);
    }
    println!("all denied");
}
