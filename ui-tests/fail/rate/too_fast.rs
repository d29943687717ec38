use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "2000000/ms")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
