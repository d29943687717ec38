use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", crate = "not a path")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
