use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
