use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", wait = "2h")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
