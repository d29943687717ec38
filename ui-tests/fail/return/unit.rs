use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
fn f() {
    println!("ran");
}

fn main() {
    f();
}
