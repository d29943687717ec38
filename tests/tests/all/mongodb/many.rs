//! Several processes, with clocks that do not agree: one budget.

use std::sync::Arc;

use ratelimit_backends::mongodb::MongoBackend;
use ratelimit_tests::servers::mongodb::MongoDb;

use super::PATIENCE;
use crate::processes;

/// What the other processes do; nothing in the process of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process() {
    if let Some(url) = processes::server() {
        let backend = MongoBackend::builder(url).timeout(PATIENCE).connect().await;
        processes::another(Arc::new(backend.expect("it is there"))).await;
    }
}

#[test]
fn processes_whose_clocks_are_weeks_apart_share_a_server() {
    let server = MongoDb::start();
    processes::share_weeks_apart("mongodb::many::another_process", &server.url());
}
