//! `#[ratelimit]` and `#[aratelimit]`: parse, validate, expand.
//!
//! - `parse`: the function and the arguments, as they were written.
//! - `validate`: what they mean; every mistake that can be seen here.
//! - `limits`: the arguments `rate` and `burst`.
//! - `key`: the argument `key`.
//! - `names`: what the function's parameters bind.
//! - `async_trait`: the same, in what `#[async_trait]` leaves.
//! - `shape`: what the function returns, and so how it can say no.
//! - `expand`: one static and one call for each attribute;
//! - `call`: the call that it makes;
//! - `site`: the static.

#[cfg(test)]
mod architecture;
mod async_trait;
mod call;
mod expand;
mod key;
mod limits;
mod names;
mod parse;
mod shape;
mod site;
#[cfg(test)]
mod tests;
mod validate;

use proc_macro2::TokenStream;

/// Which of the two macros it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `#[ratelimit]`
    Sync,
    /// `#[aratelimit]`
    Async,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sync => "ratelimit",
            Self::Async => "aratelimit",
        }
    }
}

/// The guarded function or, when there are mistakes, all of them and the function as it was: what
/// uses it shall not fail as well.
pub(crate) fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let parsed = match parse::parse(kind, arguments, item) {
        Ok(parsed) => parsed,
        Err((error, item)) => {
            let error = error.into_compile_error();
            return quote::quote! { #item #error };
        }
    };
    match validate::validate(&parsed) {
        Ok(guarded) => expand::expand(&parsed.function, &guarded),
        Err(errors) => {
            let (function, errors) = (&parsed.function, errors.into_compile_error());
            quote::quote! { #function #errors }
        }
    }
}

/// Mistakes, gathered.
#[derive(Debug, Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Keeps the error, if it is one.
    fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    fn into_result(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
