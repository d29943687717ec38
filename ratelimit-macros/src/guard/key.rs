//! The argument `key`, and the names that it may use.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, FnArg, Ident, LitStr, PatIdent, Path, Signature};

use super::Errors;
use super::parse::{plain, text};
use crate::suggest::{did_you_mean, list};

/// Where a key comes from.
pub(super) enum Key {
    /// The arguments: a call of `Call::keyed`.
    Arguments(TokenStream),
    /// A request among the arguments: which source, and its text.
    Source(TokenStream),
}

const SOURCES: [&str; 4] = ["ip", "path", "method", "header:NAME"];

/// The names that the function's parameters bind, those inside patterns included.
pub(super) fn bound_names(signature: &Signature) -> Vec<Ident> {
    struct Names(Vec<Ident>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
            self.0.push(pattern.ident.clone());
            visit::visit_pat_ident(self, pattern);
        }
    }
    let mut names = Names(Vec::new());
    for input in &signature.inputs {
        if let FnArg::Typed(typed) = input {
            names.visit_pat(&typed.pat);
        }
    }
    names.0
}

/// Reads `key`.
pub(super) fn key(
    expr: &Expr,
    signature: &Signature,
    private: &Path,
    errors: &mut Errors,
) -> Option<Key> {
    let Some(literal) = text(expr) else {
        let borrowed = borrowed(expr);
        let span = expr.span().resolved_at(Span::mixed_site());
        return Some(Key::Arguments(
            quote_spanned! { span=> #private::Call::keyed(#borrowed) },
        ));
    };
    let name = literal.value();
    let names = bound_names(signature);
    if let Some(argument) = names.iter().find(|argument| **argument == name) {
        let mut argument = argument.clone();
        argument.set_span(literal.span().resolved_at(argument.span()));
        return Some(Key::Arguments(
            hygienic! { #private::Call::keyed(&#argument) },
        ));
    }
    errors
        .take(source(literal, &name, &names, private))
        .map(Key::Source)
}

fn source(
    literal: &LitStr,
    name: &str,
    names: &[Ident],
    private: &Path,
) -> syn::Result<TokenStream> {
    let fail = |message| Err(syn::Error::new(literal.span(), message));
    match name {
        "ip" => return Ok(hygienic! { #private::Source::Ip }),
        "path" => return Ok(hygienic! { #private::Source::Path }),
        "method" => return Ok(hygienic! { #private::Source::Method }),
        _ => {}
    }
    if let Some(header) = name.strip_prefix("header:") {
        if header.is_empty() {
            return fail("expected the name of a header, such as \"header:x-api-key\"".to_owned());
        }
        if let Some(wrong) = header.chars().find(|character| !is_token(*character)) {
            return fail(format!("the name of a header cannot contain {wrong:?}"));
        }
        let source = name.to_ascii_lowercase();
        return Ok(hygienic! { #private::Source::Header(#source) });
    }
    let arguments: Vec<_> = names.iter().map(ToString::to_string).collect();
    let known = || {
        SOURCES
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
    };
    let meant = did_you_mean(name, known());
    let sources = list(SOURCES);
    let arguments = if arguments.is_empty() {
        "and the function has no arguments".to_owned()
    } else {
        format!(
            "and the function's arguments: {}",
            list(arguments.iter().map(String::as_str))
        )
    };
    fail(format!(
        "unknown key {name:?}{meant} (there are the sources {sources}, {arguments})"
    ))
}

/// RFC 9110, section 5.6.2.
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

/// The expression, to be encoded: paths, fields and the elements of tuples are borrowed one by one.
fn borrowed(expr: &Expr) -> TokenStream {
    match plain(expr) {
        Expr::Paren(paren) => borrowed(&paren.expr),
        Expr::Tuple(tuple) => {
            let elements = tuple.elems.iter().map(borrowed);
            hygienic! { &(#(#elements,)*) }
        }
        // Without parentheses where they would be noticed, and only there.
        expr @ (Expr::Path(_) | Expr::Field(_) | Expr::Lit(_)) => {
            let span = expr.span().resolved_at(Span::mixed_site());
            quote_spanned! { span=> &#expr }
        }
        expr => {
            let span = expr.span().resolved_at(Span::mixed_site());
            quote_spanned! { span=> &(#expr) }
        }
    }
}

/// How the key was written, for people.
pub(super) fn described(expr: &Expr) -> String {
    text(expr).map_or_else(|| quote! { #expr }.to_string(), LitStr::value)
}
