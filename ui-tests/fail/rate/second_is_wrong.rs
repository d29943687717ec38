use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "5/s, 100/y")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
