use ratelimit::{Rejection, ratelimit};

const WAIT: &str = "500ms";

#[ratelimit(rate = "10/m", wait = WAIT)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
