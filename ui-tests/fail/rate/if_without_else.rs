use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = if user == 1 { "10/m" })]
fn f(user: u64, tenant: &str) -> Result<(), Rejection> {
    let _ = (user, tenant);
    Ok(())
}

fn main() {
    let _ = f(1, "a");
}
