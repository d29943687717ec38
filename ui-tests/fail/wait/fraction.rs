use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", wait = "1.5s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
