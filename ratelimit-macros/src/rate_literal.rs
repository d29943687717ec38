//! `rate!("10/m")`: a checked constant.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ExprLit, Lit, LitStr, Path, bracketed};

use crate::rates::{Rates, millis};

/// `[path of the crate] literal`
struct Input {
    krate: Path,
    literal: LitStr,
}

impl Parse for Input {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let path;
        bracketed!(path in input);
        let krate = path.parse()?;
        if input.is_empty() {
            return Err(input.error("expected a rate, such as `rate!(\"10/m\")`"));
        }
        let found: Expr = input.parse()?;
        match found {
            Expr::Lit(ExprLit {
                lit: Lit::Str(literal),
                ..
            }) => Ok(Self { krate, literal }),
            Expr::Group(group) => match *group.expr {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(literal),
                    ..
                }) => Ok(Self { krate, literal }),
                other => Err(not_text(&other)),
            },
            other => Err(not_text(&other)),
        }
    }
}

fn not_text(found: &Expr) -> syn::Error {
    syn::Error::new_spanned(
        found,
        "a rate is text that is known while compiling, such as \"10/m\"; text that is known only \
         at run time is parsed with `str::parse::<Rate>()`",
    )
}

pub(crate) fn expand(tokens: TokenStream) -> syn::Result<TokenStream> {
    let Input { krate, literal } = syn::parse2(tokens)?;
    let rates = Rates::read(&literal)?;
    let rate = rates.single().map_err(|count| {
        let message = format!("expected one rate, found {count}; several rates are `Limits`");
        syn::Error::new(literal.span(), message)
    })?;
    let (limit, millis) = (rate.limit(), millis(rate));
    Ok(quote! { const { #krate::__private::rate(#limit, #millis) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_call_of_a_const_fn() {
        let expanded = expand(quote! { [::some::path] "100 / 30 s" }).unwrap();
        let expected = quote! { const { ::some::path::__private::rate(100u32, 30000u64) } };
        assert_eq!(expanded.to_string(), expected.to_string());
    }

    #[test]
    fn what_is_no_rate_says_why() {
        let message = |tokens| expand(tokens).unwrap_err().to_string();
        assert!(message(quote! { [c] "10/y" }).contains("unknown unit"));
        assert!(message(quote! { [c] "1/s, 2/m" }).contains("expected one rate, found 2"));
        assert!(message(quote! { [c] 10 }).contains("a rate is text"));
        assert!(message(quote! { [c] }).contains("expected a rate"));
    }
}
