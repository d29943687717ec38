//! Annotate a sync and an async function and watch them being limited. Needs no network, and ends
//! by itself:
//!
//! ```text
//! cargo run -p ratelimit-examples --bin quickstart
//! ```

use ratelimit::{Rejection, aratelimit, ratelimit};

/// Three exports at once for each account, then one every twenty minutes; `key` names an argument.
#[ratelimit(key = account, rate = "3/h")]
fn export(account: u64) -> Result<String, Rejection> {
    Ok(format!("exported account {account}"))
}

/// Two rates that are one decision: five at once and then one every two seconds, and of twenty at
/// once one every three minutes. Long texts cost more.
#[aratelimit(key = user, rate = "30/m, 20/h", burst = [5, 20], cost = 1 + text.len() / 100)]
async fn summarize(user: &str, text: &str) -> Result<usize, Rejection> {
    Ok(text.split_whitespace().count())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("a sync function, 3 calls at once for each account:");
    for account in [7, 7, 7, 7, 8] {
        match export(account) {
            Ok(done) => println!("  {done}"),
            Err(rejection) => println!("  account {account}: {rejection}"),
        }
    }

    println!("an async function, 5 units at once for each user, where a long text costs 3:");
    let long = "word ".repeat(50);
    for (user, text) in [
        ("ada", "a short text"),
        ("ada", &long),
        ("ada", &long),
        ("bob", &long),
    ] {
        match summarize(user, text).await {
            Ok(words) => println!("  {user}: {words} words"),
            Err(Rejection::Limited(decision)) => println!(
                "  {user}: {} left, which is too few; again in {:.1?}",
                decision.remaining(),
                decision.retry_after(),
            ),
            Err(other) => println!("  {user}: {other}"),
        }
    }
}
