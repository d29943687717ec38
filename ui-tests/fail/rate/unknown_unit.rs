use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/fortnight")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
