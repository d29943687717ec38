use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", mode = shadow)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
