use ratelimit::ratelimit;

#[ratelimit(rate = "10/m")]
mod m {}

fn main() {}
