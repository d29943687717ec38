use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "99999999999999999999999/s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
