use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/q", algorithm = "tokenbucket", mode = "shadows", colour = 7)]
fn f() -> Result<(), Rejection> {
    Ok(())
}

fn main() {
    let _ = f();
}
