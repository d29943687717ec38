use ratelimit::{Rejection, ratelimit};

struct User {
    id: f64,
}

#[ratelimit(rate = "10/m", key = user.id)]
fn f(user: &User) -> Result<(), Rejection> {
    let _ = user.id;
    Ok(())
}

#[ratelimit(rate = "10/m", key = user)]
fn g(user: User) -> Result<(), Rejection> {
    let _ = user.id;
    Ok(())
}

fn main() {}
