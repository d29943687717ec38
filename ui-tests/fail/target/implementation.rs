use ratelimit::ratelimit;

struct S;

#[ratelimit(rate = "10/m")]
impl S {}

fn main() {}
