//! How a guarded function is tested without sleeping: the tests are below, and run with
//!
//! ```text
//! cargo test -p ratelimit-examples --bin testing
//! ```

use ratelimit::{Rejection, aratelimit, ratelimit};

/// Five logins in a quarter of an hour for each account, wherever they come from.
#[ratelimit(name = "login", key = account, rate = "5/15m", algorithm = "sliding_window", backend = "redis")]
fn login(account: &str, password: &str) -> Result<bool, Rejection> {
    Ok(account == "ada" && password == "analytical engine")
}

/// A call to an API that we pay for.
#[aratelimit(rate = "2/s", algorithm = "fixed_window")]
async fn geocode(address: &str) -> Result<(f64, f64), Rejection> {
    let _ = address;
    Ok((51.5, -0.1))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // No registry is installed, so that `redis` is not there: rejected, and it says why.
    match login("ada", "analytical engine") {
        Ok(right) => println!("logged in: {right}"),
        Err(rejection) => println!("{rejection}"),
    }
    println!("{:?}", geocode("10 Downing Street").await);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratelimit::testing;

    use super::{geocode, login};

    #[test]
    fn the_sixth_login_is_refused_until_the_first_is_old_enough() {
        // In a scope, every backend's name stands for a fresh one in memory, and time stands still.
        let scope = testing::scope();
        for minute in 0..5 {
            assert!(login("ada", "wrong").is_ok(), "minute {minute}");
            scope.clock().advance(Duration::from_mins(1));
        }
        let refused = login("ada", "analytical engine").unwrap_err();
        assert_eq!(refused.retry_after(), Some(Duration::from_mins(10)));
        assert!(
            login("bob", "wrong").is_ok(),
            "other accounts are not concerned"
        );
        scope.clock().advance(Duration::from_mins(10));
        assert!(login("ada", "analytical engine").unwrap());
    }

    #[tokio::test]
    async fn async_functions_see_the_scope_of_their_thread() {
        let scope = testing::scope();
        assert!(geocode("a").await.is_ok());
        assert!(geocode("b").await.is_ok());
        assert!(geocode("c").await.is_err());
        scope.clock().advance(Duration::from_secs(1));
        assert!(geocode("c").await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spawned_tasks_are_wrapped() {
        let scope = testing::scope();
        let tasks: Vec<_> = (0..10)
            .map(|_| tokio::spawn(scope.wrap(geocode("a"))))
            .collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += usize::from(task.await.unwrap().is_ok());
        }
        assert_eq!(admitted, 2);
    }
}
