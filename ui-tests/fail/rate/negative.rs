use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "-1/s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
