//! Who asks from where.

use tokio::runtime::{Builder, Runtime};

use super::{Started, ask, policy};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// As on a server that has a runtime for each of its threads: what one of them waits for is not what another one does.
#[test]
fn each_runtime_has_its_own_connections() {
    let server = Started::<1>::new();
    let backend = server.builder().lazy().unwrap();
    let limits = policy("100/366d");
    let first = runtime();
    let second = runtime();
    let mut left = 100;
    for _ in 0..3 {
        // Nobody polls the one while the other is asked.
        for runtime in [&first, &second] {
            left -= 1;
            let decision = runtime.block_on(ask(&backend, &limits, "k"));
            assert_eq!(decision.unwrap().remaining(), left);
        }
    }
    drop(first);
    for _ in 0..3 {
        left -= 1;
        let decision = runtime().block_on(ask(&backend, &limits, "k"));
        assert_eq!(decision.unwrap().remaining(), left);
    }
    let connections = server.0[0].count("curr_connections");
    assert!(connections < 15, "{connections} connections");
}
