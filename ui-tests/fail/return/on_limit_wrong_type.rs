use ratelimit::ratelimit;

#[ratelimit(rate = "10/m", on_limit = |_| "busy")]
fn f() -> u32 {
    7
}

fn main() {
    let _ = f();
}
