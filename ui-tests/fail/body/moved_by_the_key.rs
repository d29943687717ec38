use ratelimit::{Rejection, ratelimit};

fn consume(text: String) -> usize {
    text.len()
}

#[ratelimit(rate = "10/m", key = consume(text))]
fn f(text: String) -> Result<String, Rejection> {
    Ok(text)
}

fn main() {
    let _ = f(String::new());
}
