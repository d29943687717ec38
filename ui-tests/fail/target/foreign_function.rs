use ratelimit::ratelimit;

unsafe extern "C" {
    #[ratelimit(rate = "10/m")]
    fn f() -> u32;
}

fn main() {}
