use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
const fn f() -> Option<u32> {
    Some(7)
}

fn main() {
    let _ = f();
}
