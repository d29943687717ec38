use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", burst = 5, cost = 6)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
