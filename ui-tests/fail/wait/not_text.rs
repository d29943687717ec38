use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", wait = 500)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
