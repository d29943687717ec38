use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", burst = [])]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
