use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10 per minute")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
