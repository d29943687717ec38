use ratelimit::{Rejection, ratelimit};

#[ratelimit(key = "ip")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
