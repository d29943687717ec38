use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m")]
fn f() -> Result<(), Rejection> {
    let _ = SITE;
    let _ = call;
    let _ = admitted;
    Ok(())
}

fn main() {
    let _ = f();
}
