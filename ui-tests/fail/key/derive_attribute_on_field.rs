#[derive(ratelimit::Key)]
struct Tenant {
    #[key(skip)]
    id: u64,
}

fn main() {
    let _ = Tenant { id: 7 }.id;
}
