//! Through a renamed dependency and through a re-export.
#![deny(warnings)]

mod vendored {
    pub(crate) use renamed::*;
}

use renamed::Rejection;

#[renamed::ratelimit(rate = "10/m", key = id, crate = renamed)]
fn by_path(id: u32) -> Result<u32, Rejection> {
    Ok(id)
}

#[vendored::aratelimit(rate = match id { 0 => "1/m", _ => "10/m" }, key = id, crate = "crate::vendored")]
async fn by_text(id: u32) -> Result<u32, Rejection> {
    Ok(id)
}

#[derive(vendored::Key)]
#[key(crate = "crate::vendored")]
struct Id(u32);

const RATE: renamed::Rate = vendored::rate!("10/m");

#[test]
fn all_of_it_works_under_another_name() {
    assert!(by_path(1).is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert!(runtime.block_on(by_text(1)).is_ok());
    assert_eq!(RATE.limit(), 10);
    let _ = renamed::KeyBuf::of(&Id(1));
}
