use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m", algorithm = gcra)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
