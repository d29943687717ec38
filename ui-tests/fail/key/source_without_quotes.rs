use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", key = ip)]
fn f(user: u64, tenant: &str) -> Result<(), Rejection> {
    let _ = (user, tenant);
    Ok(())
}

fn main() {
    let _ = f(1, "a");
}
