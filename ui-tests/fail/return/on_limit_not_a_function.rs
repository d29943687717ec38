use ratelimit::ratelimit;

#[ratelimit(rate = "10/m", on_limit = 7)]
fn f() -> u32 {
    7
}

fn main() {
    let _ = f();
}
