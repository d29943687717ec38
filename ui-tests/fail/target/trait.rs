use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
trait T {}

fn main() {}
