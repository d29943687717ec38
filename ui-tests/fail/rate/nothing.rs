use ratelimit::{Rejection, ratelimit};

#[ratelimit()]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
