//! Limits that survive a restart, without a server: run it twice.
//!
//! ```text
//! cargo run -p ratelimit-examples --features sqlite --bin sqlite_embedded
//! ```
//!
//! An argument is the file; without one it is `ratelimit-example.db` in the folder for temporary files. Several processes may have
//! the same file at the same time.

use std::env;
use std::error::Error;

use ratelimit::{Registry, Rejection, SqlBackend, ratelimit};

/// Three in an hour for each account, whichever process is asked.
#[ratelimit(name = "export", key = account, rate = "3/h", algorithm = "sliding_window")]
fn export(account: &str) -> Result<String, Rejection> {
    Ok(format!("exported what {account} has"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args().nth(1).unwrap_or_else(|| {
        let file = env::temp_dir().join("ratelimit-example.db");
        file.display().to_string()
    });
    // The file and its table are made if they are not there.
    let backend = SqlBackend::connect_blocking(format!("sqlite://{file}"))?;
    Registry::builder()
        .backend("file", backend)
        .default_backend("file")
        .install()?;

    for _ in 0..2 {
        match export("acme") {
            Ok(done) => println!("{done}"),
            Err(rejection) => println!("{rejection}"),
        }
    }
    println!("What was used stands in {file}: another run goes on from there.");
    Ok(())
}
