//! The argument `key`, and the names that it may use.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprReference, Ident, LitStr, Path, Token};

use super::parse::{plain, text};
use super::{Errors, names};
use crate::suggest::{did_you_mean, list};

/// Where a key comes from.
pub(super) enum Key {
    /// The arguments: a call of `Call::keyed`.
    Arguments(TokenStream),
    /// A request among the arguments: which source, and its text.
    Source(TokenStream),
}

const SOURCES: [&str; 4] = ["ip", "path", "method", "header:NAME"];

/// Reads `key`.
pub(super) fn key(
    expr: &Expr,
    names: &[Ident],
    private: &Path,
    errors: &mut Errors,
) -> Option<Key> {
    let Some(literal) = text(expr) else {
        errors.take(no_source(expr, names))?;
        let borrowed = borrowed(expr);
        let span = expr.span().resolved_at(Span::mixed_site());
        return Some(Key::Arguments(
            quote_spanned! { span=> #private::Call::keyed(#borrowed) },
        ));
    };
    let name = literal.value();
    if let Some(argument) = names::find(names, &name, literal.span()) {
        let span = literal.span().resolved_at(Span::mixed_site());
        return Some(Key::Arguments(
            quote_spanned! { span=> #private::Call::keyed(&#argument) },
        ));
    }
    errors
        .take(source(literal, &name, names, private))
        .map(Key::Source)
}

/// A source is written in quotes.
fn no_source(expr: &Expr, names: &[Ident]) -> syn::Result<()> {
    let Expr::Path(path) = plain(expr) else {
        return Ok(());
    };
    let Some(found) = path.path.get_ident().map(ToString::to_string) else {
        return Ok(());
    };
    if SOURCES.contains(&found.as_str()) && !names::texts(names).contains(&found) {
        let message = format!("no argument is called `{found}`; for the source: `key = {found:?}`");
        return Err(syn::Error::new_spanned(expr, message));
    }
    Ok(())
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
    let arguments = names::texts(names);
    let known = || {
        SOURCES
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
    };
    let meant = if is_expression(name, names) {
        format!("; an expression is written without quotes: `key = {name}`")
    } else {
        did_you_mean(name, known())
    };
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

/// Whether a text looks like an expression over an argument.
fn is_expression(text: &str, names: &[Ident]) -> bool {
    let end = text.find(['.', '(', '[', ' ']).unwrap_or(text.len());
    let first = text[..end].trim_start_matches(['(', '&', '*']);
    end < text.len()
        && (first == "self" || names::texts(names).iter().any(|name| name == first))
        && syn::parse_str::<Expr>(text).is_ok()
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
        expr => {
            // As a node and not as tokens: printing it puts parentheses where they are needed.
            let span = expr.span().resolved_at(Span::mixed_site());
            let reference = ExprReference {
                attrs: Vec::new(),
                and_token: Token![&](span),
                mutability: None,
                expr: Box::new(expr.clone()),
            };
            quote! { #reference }
        }
    }
}

/// How the key was written, for people.
pub(super) fn described(expr: &Expr) -> String {
    text(expr).map_or_else(|| quote! { #expr }.to_string(), LitStr::value)
}
