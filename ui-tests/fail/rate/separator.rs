use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "1__0/s")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
