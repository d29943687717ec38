use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
enum E { A }

fn main() {}
