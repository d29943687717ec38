use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m, 100/h", burst = [20, 0])]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
