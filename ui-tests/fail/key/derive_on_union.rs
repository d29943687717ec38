#[derive(ratelimit::Key)]
union Either {
    a: u32,
    b: i32,
}

fn main() {}
