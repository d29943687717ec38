use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", cost = -1)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
