use ratelimit::{Rejection, ratelimit};

#[ratelimit(rate = "10/m")]
fn f() -> impl Future<Output = Result<(), Rejection>> {
    async { Ok(()) }
}

#[ratelimit(rate = "10/m")]
fn g() -> std::pin::Pin<Box<dyn Future<Output = Result<(), Rejection>>>> {
    Box::pin(async { Ok(()) })
}

fn main() {
    let _ = (f(), g());
}
