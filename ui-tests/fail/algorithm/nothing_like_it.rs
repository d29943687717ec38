use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", algorithm = "magic")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
