//! The macros of the `ratelimit` framework. Use them through the crate `ratelimit`, which
//! re-exports them.
//!
//! - `guard`: `#[ratelimit]` and `#[aratelimit]`, in three steps: parse, validate, expand.
//! - `derive_key`: `#[derive(Key)]`.
//! - `rate_literal`: `rate!`.

/// Like `quote!`, with the hygiene of a `macro_rules` macro: locals are not seen by the user's code.
macro_rules! hygienic {
    ($($tokens:tt)*) => {
        quote::quote_spanned! { proc_macro2::Span::mixed_site()=> $($tokens)* }
    };
}

mod derive_key;
mod guard;
mod rate_literal;
mod rates;
mod suggest;

use proc_macro::TokenStream;

use guard::Kind;

/// Limits how often a function runs.
///
/// | argument | form | meaning |
/// |---|---|---|
/// | `rate` | `"10/m"`, `"5/s, 100/h"`, `match` or `if` with such literals, or an expression that is `Into<Limits>` | required; several rates are one decision |
/// | `key` | `"ip"`, `"path"`, `"method"`, `"header:NAME"`, an argument's name, or an expression over the arguments | who is limited; without it there is one bucket for the function |
/// | `algorithm` | `"token_bucket"` (default), `"leaky_bucket"`, `"fixed_window"`, `"sliding_window"`, `"sliding_window_counter"`, `"gcra"` | how the rate is enforced |
/// | `burst` | an integer, or an array with one for each rate, in the written order | capacity of the bucket; default: the rate's limit |
/// | `backend` | a registered name | what decides; default: the registry's default backend |
/// | `cost` | an expression of any integer type | units that the call takes; default 1; 0 runs without asking |
/// | `skip_if` | an expression of type `bool` | the call runs unlimited |
/// | `wait` | `"500ms"`: a number and a unit, from a millisecond to an hour | how long a call waits for its place before it is rejected; without it, it does not wait |
/// | `on_limit` | a function or closure that takes a `Rejection` | how to say no, where the return type cannot |
/// | `on_error` | `"closed"` (default), `"open"`, `"local"` | what happens when the backend fails |
/// | `mode` | `"enforce"` (default), `"shadow"`, `"off"` | shadow decides and counts, but every call runs |
/// | `name` | text | the policy's name; default: `crate::module::function`, without the type of a method, and with `#2` for the second attribute of a function. Attributes that are given one name share one budget |
/// | `request` | an argument's name | which argument carries the request |
/// | `crate` | a path | where `ratelimit` is re-exported |
///
/// A rejected call returns what the return type makes of the `Rejection`: `Result<T, E>` where
/// `E: From<Rejection>`, `Option<T>`, a response of a supported web framework, `impl IntoResponse`,
/// or what `on_limit` returns.
///
/// In `key`, `cost`, `skip_if` and `rate`, paths, fields and the elements of tuples are borrowed,
/// never moved. They are evaluated before anything is decided, `skip_if` first.
///
/// # Waiting
///
/// With `wait`, a call that would be rejected waits for its place instead, at most so long. It is
/// rejected at once where that would be in vain, and nothing is charged for it then.
///
/// - Under `leaky_bucket` this is the smoothing queue: each call is given its instant at once, and
///   calls come out evenly spaced, from all processes that share the backend. The bucket is the
///   queue, so that its `burst` bounds it. Not every backend can do that; one that cannot is a fault
///   at start-up.
/// - Under the other algorithms the calls of one policy and key that wait form a queue in their
///   process: the first asks the backend again when it said that there is a place, the others keep
///   their order behind it, whatever they cost, and a new call does not overtake them. A queue
///   holds at most `Builder::max_waiters` calls.
///
/// What the backend takes to answer is not counted. A call in `mode = "shadow"` never waits: that
/// would change what the program does. When the backend fails, waiting ends by `on_error`.
///
/// `#[ratelimit]` parks its thread while it waits; in async code, where a parked thread polls nothing
/// else, use [`#[aratelimit]`](macro@aratelimit). That blocks no thread, on any executor, and a future
/// that is dropped while it waits gives up its place and what was charged for it. Like everything that
/// queues, it must be polled to get ahead: a future that is kept without being polled keeps those
/// behind it waiting, until they have waited as long as they may.
///
/// For `async fn` and functions that return a future there is
/// [`#[aratelimit]`](macro@aratelimit).
#[proc_macro_attribute]
pub fn ratelimit(arguments: TokenStream, item: TokenStream) -> TokenStream {
    guard::expand(Kind::Sync, arguments.into(), item.into()).into()
}

/// Limits how often an async function runs, without blocking a thread.
///
/// It takes the arguments of [`#[ratelimit]`](macro@ratelimit), on `async fn` and on functions that
/// return `impl Future`, `Pin<Box<dyn Future>>` or `BoxFuture`. Of the latter the body runs at the
/// call, and the future that it returns is polled only when the call is admitted.
#[proc_macro_attribute]
pub fn aratelimit(arguments: TokenStream, item: TokenStream) -> TokenStream {
    guard::expand(Kind::Async, arguments.into(), item.into()).into()
}

/// `rate!` of the crate `ratelimit`, which says where that crate is.
#[doc(hidden)]
#[proc_macro]
pub fn rate(tokens: TokenStream) -> TokenStream {
    rate_literal::expand(tokens.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct or an enum a rate limit key: all of its fields, in order, and the name of the
/// variant.
///
/// `#[key(crate = "path")]` says where `ratelimit` is re-exported.
#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(tokens: TokenStream) -> TokenStream {
    derive_key::expand(tokens.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
