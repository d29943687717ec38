use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
fn f() -> ! {
    loop {}
}

fn main() {
    f();
}
