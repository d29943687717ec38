#[derive(ratelimit::Key)]
struct Tenant {
    id: u64,
    weight: f64,
}

fn main() {}
