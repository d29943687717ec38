use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = match user { 0 => "5/m", _ => "1000/m" }, cost = 6)]
fn f(user: u64, tenant: &str) -> Result<(), Rejection> {
    let _ = (user, tenant);
    Ok(())
}

fn main() {
    let _ = f(1, "a");
}
