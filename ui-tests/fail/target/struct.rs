use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
struct S;

fn main() {}
