use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", mode = "on")]
#[ratelimit(rate = "10/mm")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
