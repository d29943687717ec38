use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/s, 5/m", cost = 6)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
