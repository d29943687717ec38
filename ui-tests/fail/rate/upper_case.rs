use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/M")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
