use ratelimit::ratelimit;

#[derive(Debug)]
struct MyError;

#[ratelimit(rate = "10/m")]
fn f() -> Result<(), MyError> {
    Err(MyError)
}

fn main() {
    let _ = f();
}
