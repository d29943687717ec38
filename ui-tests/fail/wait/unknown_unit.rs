use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", wait = "5 fortnights")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
