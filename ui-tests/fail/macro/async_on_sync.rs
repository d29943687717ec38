use ratelimit::{Rejection, aratelimit};

#[aratelimit(rate = "10/m")]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
