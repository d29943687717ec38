use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "1.5/s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
