use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "100/h, 5/s", burst = [user, user])]
fn f(user: u64, tenant: &str) -> Result<(), Rejection> {
    let _ = (user, tenant);
    Ok(())
}

fn main() {
    let _ = f(1, "a");
}
