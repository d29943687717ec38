use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", wait = "1s", wait = "2s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
