use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", algorithm = "")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
