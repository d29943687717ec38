use ratelimit::ratelimit;

trait T {
    #[ratelimit(rate = "10/m")]
    fn f(&self) -> Option<u32>;
}

fn main() {}
