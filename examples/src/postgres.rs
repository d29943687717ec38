//! One budget for all processes that have the same database, and a table that is made by hand.
//!
//! ```text
//! cargo run -p ratelimit-examples --features postgres --bin postgres
//! ```
//!
//! Without an argument it starts a server of its own; else that is the URL of a database.

use std::error::Error;

use ratelimit::core::Sweep;
use ratelimit::{Backend, Registry, Rejection, SqlBackend, aratelimit};
use ratelimit_tests::servers::postgres::Postgres;
use sqlx::PgPool;

/// A bill for every tenant each minute, and no more than three at once.
#[aratelimit(name = "bill", key = tenant, rate = "1/m", burst = 3)]
async fn bill(tenant: u32) -> Result<String, Rejection> {
    Ok(format!("tenant {tenant} is billed"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let named = std::env::args().nth(1);
    let server = named.is_none().then(Postgres::start);
    let url = named.or_else(|| server.as_ref().map(Postgres::url));
    let url = url.expect("one or the other");

    // Those who make their tables themselves print how that is done.
    let builder = SqlBackend::builder(&*url).table("limits");
    println!("{}", builder.schema()?);
    // Others have it made, here through the pool that the program has anyway.
    let pool = PgPool::connect(&url).await?;
    let backend = SqlBackend::with_postgres(pool).table("limits");
    Registry::builder()
        .backend("postgres", backend.connect().await?)
        .default_backend("postgres")
        .install()?;

    // What another process used is seen: run it again on the same database.
    for tenant in [1, 1, 1, 1, 2] {
        match bill(tenant).await {
            Ok(done) => println!("{done}"),
            Err(rejection) => println!("tenant {tenant}: {rejection}"),
        }
    }

    // Rows that are over go by themselves, every hour; or when it is said.
    let backend = builder.connect().await?;
    let counted = backend.sweep(Sweep::new().with_dry_run(true)).await?;
    println!(
        "{} keys are kept, {} are over",
        counted.kept, counted.removed
    );
    Ok(())
}
