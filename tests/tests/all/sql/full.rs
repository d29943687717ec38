//! No room is left.

use core::ops::Range;
use std::process::Command;
use std::time::Duration;

use ratelimit_backends::sql::SqlBackend;
use ratelimit_core::{Algorithm, Backend, Check, Error, ErrorKind, Join, KeyBuf, Policy};
use ratelimit_tests::servers::mariadb::MariaDb;

use super::{File, PATIENCE};
use crate::processes;

async fn connect(url: String) -> SqlBackend {
    let backend = SqlBackend::builder(url).timeout(PATIENCE).connect().await;
    backend.expect("it is there")
}

/// Writes keys until there is no room for another.
async fn fill(backend: &SqlBackend, keys: Range<u32>) -> Error {
    let policy = Policy::new("p", Algorithm::TokenBucket, "1/h".parse().unwrap());
    for first in keys.clone().step_by(500) {
        let keys: Vec<_> = (first..first + 500).map(|key| KeyBuf::of(&key)).collect();
        let checks: Vec<_> = keys
            .iter()
            .map(|key| Check::new(&policy, policy.limits(), key.as_ref()))
            .collect();
        for answer in backend.decide(&checks, Join::Each).await {
            if let Err(error) = answer {
                return error;
            }
        }
    }
    panic!("there is room for the keys {keys:?}")
}

async fn is_full(backend: &SqlBackend) {
    let error = fill(backend, 0..200_000).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let error = fill(backend, 200_000..400_000).await;
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    // What is there can still be read.
    backend.ping().await.expect("it is there");
}

#[tokio::test]
async fn a_tablespace_that_is_full() {
    let server = MariaDb::with(&[
        "--innodb-data-file-path=ibdata1:12M",
        "--innodb-file-per-table=0",
    ]);
    let backend = connect(server.url()).await;
    is_full(&backend).await;
}

/// What a process does that may not write large files; nothing in the process of the tests.
#[tokio::test]
async fn another_process() {
    if let Some(url) = processes::server() {
        is_full(&connect(url).await).await;
        println!("it was full");
    }
}

#[tokio::test]
async fn a_disk_that_is_full() {
    let file = File::new();
    let program = std::env::current_exe().expect("a path");
    // Blocks of 512 or 1,024 bytes. Whoever writes more is told so, if it does not want to be killed.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$@\"", "sh"])
        .arg(program)
        .args(["--exact", "sql::full::another_process", "--nocapture"])
        .env(processes::SERVER, file.url())
        .output();
    let output = child.expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("it was full"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // With room again it goes on.
    let backend = connect(file.url()).await;
    let policy = Policy::new("p", Algorithm::TokenBucket, "1/h".parse().unwrap());
    let key = KeyBuf::of(&0_u32);
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let denied = backend.decide(&[check], Join::Each).await.remove(0);
    assert!(!denied.expect("a decision").is_allowed(), "it was kept");
}

/// A process that is killed while it writes takes nothing with it. Real time: it has to be at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed() {
    let file = File::new();
    let mut child = processes::start("sql::many::another_process", &file.url(), None);
    tokio::time::sleep(Duration::from_millis(400)).await;
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let taken = processes::take(std::sync::Arc::new(connect(file.url()).await)).await;
    assert!(taken.iter().all(|it| *it <= processes::LIMIT), "{taken:?}");
}
