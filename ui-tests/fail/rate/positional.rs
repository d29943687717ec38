use ratelimit::{Rejection, ratelimit};

#[ratelimit("10/m")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
