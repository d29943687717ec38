//! One budget for all processes that ask the same servers.
//!
//! Without arguments it starts a cluster of three nodes of its own; else they are the URLs of one server, or of nodes of
//! a cluster.

use std::error::Error;
use std::time::Instant;

use ratelimit::{RedisBackend, Registry, Rejection, aratelimit};
use ratelimit_tests::servers::cluster::Cluster;

#[aratelimit(key = tenant, rate = "5/s, 20/m", algorithm = "token_bucket")]
async fn search(tenant: &str, words: &str) -> Result<String, Rejection> {
    Ok(format!("{tenant} finds nothing about {words}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    let cluster = urls.is_empty().then(Cluster::start);
    urls.extend(cluster.iter().flat_map(Cluster::urls));

    let builder = match &urls[..] {
        [one] => RedisBackend::builder(one),
        several => RedisBackend::cluster(several.iter().cloned()),
    };
    // It says what is wrong, if anything is, before the first call.
    let backend = builder.prefix("example").connect().await?;
    Registry::builder()
        .backend("redis", backend)
        .default_backend("redis")
        .install()?;

    for tenant in ["acme", "globex"] {
        for call in 1..=6 {
            let started = Instant::now();
            let answer = search(tenant, "roadrunners").await;
            let took = started.elapsed();
            match answer {
                Ok(_) => println!("{tenant} {call}: admitted, in {took:?}"),
                Err(rejection) => println!("{tenant} {call}: {rejection}, in {took:?}"),
            }
        }
    }
    Ok(())
}
