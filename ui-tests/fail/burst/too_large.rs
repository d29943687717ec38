use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "1/4w", burst = 4000000000)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
