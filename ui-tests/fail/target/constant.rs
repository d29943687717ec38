use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
const C: u32 = 7;

fn main() {}
