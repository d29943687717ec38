//! Several attributes on one function.
#![deny(warnings)]

use ratelimit::{Rejection, aratelimit, ratelimit};

#[ratelimit(rate = "3/h")]
#[inline]
#[ratelimit(key = user, rate = "2/h", algorithm = "fixed_window")]
fn both(user: u32) -> Result<u32, Rejection> {
    Ok(user)
}

#[aratelimit(rate = "3/h")]
#[ratelimit::aratelimit(key = user, rate = "2/h")]
async fn both_async(user: u32) -> Option<u32> {
    Some(user)
}

fn main() {
    assert!(both(1).is_ok());
    assert!(both(1).is_ok());
    // The outer charge stays when the inner one refuses.
    assert!(both(1).is_err());
    assert!(both(2).is_err());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let call = |user| runtime.block_on(both_async(user)).is_some();
    assert_eq!(
        [call(1), call(1), call(1), call(2)],
        [true, true, false, false]
    );
}
