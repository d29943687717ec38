use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", cost = 4294967296)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
