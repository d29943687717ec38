use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "4294967296/s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
