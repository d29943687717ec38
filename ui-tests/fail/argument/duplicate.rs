use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", rate = "20/m")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
