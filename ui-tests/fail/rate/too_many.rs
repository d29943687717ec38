use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "1/s, 2/m, 3/h, 4/d, 5/w")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
