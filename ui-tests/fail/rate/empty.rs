use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
