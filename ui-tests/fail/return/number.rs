use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
fn f() -> u32 {
    7
}

fn main() {
    let _ = f();
}
