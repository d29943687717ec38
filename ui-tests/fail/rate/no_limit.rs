use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "/m")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
