//! Several processes, with clocks that do not agree: one budget.

use std::sync::Arc;

use ratelimit_backends::sql::SqlBackend;
use ratelimit_tests::servers::mariadb::MariaDb;
use ratelimit_tests::servers::postgres::Postgres;

use super::{File, PATIENCE};
use crate::processes;

const ANOTHER: &str = "sql::many::another_process";

/// What the other processes do; nothing in the process of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process() {
    if let Some(url) = processes::server() {
        let backend = SqlBackend::builder(url).timeout(PATIENCE).connect().await;
        processes::another(Arc::new(backend.expect("it is there"))).await;
    }
}

#[test]
fn processes_whose_clocks_are_weeks_apart_share_postgres() {
    let server = Postgres::start();
    processes::share_weeks_apart(ANOTHER, &server.url());
}

#[test]
fn processes_whose_clocks_are_weeks_apart_share_mariadb() {
    let server = MariaDb::start();
    processes::share_weeks_apart(ANOTHER, &server.url());
}

/// They are on one machine, and have one clock.
#[test]
fn processes_share_a_file() {
    let file = File::new();
    processes::share(ANOTHER, &file.url());
}
