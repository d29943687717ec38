use ratelimit::aratelimit;

#[aratelimit(rate = "10/m")]
fn f() -> impl Future<Output = u32> {
    async { 7 }
}

fn main() {
    let _ = f();
}
