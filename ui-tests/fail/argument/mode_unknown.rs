use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", mode = "enforced")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
