use ratelimit::aratelimit;

#[aratelimit(rate = "10/m")]
async fn f() -> u32 {
    7
}

fn main() {
    let _ = f();
}
