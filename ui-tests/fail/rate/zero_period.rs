use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/0s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
