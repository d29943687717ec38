use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m x")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
