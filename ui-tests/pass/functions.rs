//! Free functions: visibility, attributes, unsafe, extern, recursion, nested modules.
#![forbid(unsafe_op_in_unsafe_fn)]
#![deny(warnings)]

use ratelimit::{Rejection, ratelimit};

/// Documented.
#[ratelimit(rate = "10/m")]
#[inline]
pub fn documented() -> Result<u32, Rejection> {
    Ok(7)
}

#[must_use]
#[ratelimit(rate = "10/m")]
pub(crate) fn must_be_used() -> Option<u32> {
    Some(7)
}

#[ratelimit(rate = "1000/s", key = depth)]
fn recursive(depth: u32) -> Result<u32, Rejection> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(recursive(depth - 1)? + 1)
}

#[ratelimit(rate = "10/m")]
unsafe fn not_safe(value: *const u32) -> Option<u32> {
    // SAFETY: the caller promises it.
    Some(unsafe { *value })
}

#[ratelimit(rate = "10/m", on_limit = |_| -1)]
extern "C" fn for_c(value: i32) -> i32 {
    value
}

mod outer {
    pub mod inner {
        #[ratelimit::ratelimit(rate = "10/m")]
        pub fn nested() -> Option<&'static str> {
            Some("nested")
        }
    }
}

fn inside_a_function() -> Option<u32> {
    #[ratelimit(rate = "10/m")]
    fn inner() -> Option<u32> {
        Some(7)
    }
    inner()
}

macro_rules! guarded {
    ($name:ident, $rate:literal) => {
        #[ratelimit(rate = $rate, key = value)]
        fn $name(value: u32) -> Option<u32> {
            Some(value)
        }
    };
}

guarded!(from_a_macro, "10/m");

#[ratelimit(rate = "10/m", on_limit = |rejection| println!("{rejection}"))]
fn returns_nothing() {
    println!("ran");
}

#[ratelimit(rate = "10/m", on_limit = refuse)]
fn through_a_path() -> String {
    "ran".to_owned()
}

fn refuse(rejection: Rejection) -> String {
    rejection.to_string()
}

fn main() {
    assert_eq!(documented().unwrap(), 7);
    assert_eq!(must_be_used(), Some(7));
    assert_eq!(recursive(5).unwrap(), 5);
    // SAFETY: it points to a number.
    assert_eq!(unsafe { not_safe(&7) }, Some(7));
    assert_eq!(for_c(7), 7);
    assert_eq!(outer::inner::nested(), Some("nested"));
    assert_eq!(inside_a_function(), Some(7));
    assert_eq!(from_a_macro(7), Some(7));
    returns_nothing();
    assert_eq!(through_a_path(), "ran");
}
