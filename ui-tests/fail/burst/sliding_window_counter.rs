use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", algorithm = "sliding_window_counter", burst = 20)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
