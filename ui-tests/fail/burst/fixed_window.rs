use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", algorithm = "fixed_window", burst = 20)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
