//! The driver, from tokens to tokens. What the compiler makes of them is the business of the tests
//! that compile.
//!
//! - `expansion`: what is generated.
//! - `mistakes`: what is said, and what is generated all the same.

mod expansion;
mod mistakes;

use super::*;

fn expanded(kind: Kind, arguments: TokenStream, item: TokenStream) -> String {
    let tokens = expand(kind, arguments, item);
    assert!(syn::parse2::<syn::File>(tokens.clone()).is_ok(), "{tokens}");
    tokens.to_string()
}

fn sync(arguments: TokenStream, item: TokenStream) -> String {
    expanded(Kind::Sync, arguments, item)
}

fn asynchronous(arguments: TokenStream, item: TokenStream) -> String {
    expanded(Kind::Async, arguments, item)
}
