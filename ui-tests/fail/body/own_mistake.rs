use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m")]
fn f() -> Result<(), Rejection> {
    let x: u32 = "text";
    Ok(())
}

fn main() {
    let _ = f();
}
