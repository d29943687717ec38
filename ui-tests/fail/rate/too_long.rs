use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "1/367d")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
