use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = match user { 0 => "10/m", 1 => "10/x", _ => "1000/m" })]
fn f(user: u64, tenant: &str) -> Result<(), Rejection> {
    let _ = (user, tenant);
    Ok(())
}

fn main() {
    let _ = f(1, "a");
}
