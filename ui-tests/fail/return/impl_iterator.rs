use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
fn f() -> impl Iterator<Item = u32> {
    0..3
}

fn main() {
    let _ = f();
}
