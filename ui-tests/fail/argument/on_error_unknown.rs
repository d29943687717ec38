use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", on_error = "opened")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
