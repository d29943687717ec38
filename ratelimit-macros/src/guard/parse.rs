//! The function, and the arguments of each attribute, as they were written.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Expr, ExprLit, Ident, Item, ItemFn, Lit, LitStr, Meta, Token, TraitItemFn};

use super::Kind;

/// One attribute.
#[derive(Debug)]
pub(super) struct Attr {
    pub(super) kind: Kind,
    /// Where it stands, for what is missing in it.
    pub(super) span: Span,
    pub(super) arguments: Vec<Argument>,
    /// What stopped the reading of the arguments.
    pub(super) error: Option<syn::Error>,
}

/// `name = value`
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) name: Ident,
    pub(super) value: Expr,
}

/// A function without our attributes, and these, the outermost first.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) function: ItemFn,
    pub(super) attrs: Vec<Attr>,
}

/// Reads the item and all of our attributes on it: the one that is expanded, and those below it.
///
/// An item that is no function comes back as it was.
pub(super) fn parse(
    kind: Kind,
    arguments: TokenStream,
    item: TokenStream,
) -> Result<Parsed, (syn::Error, TokenStream)> {
    let mut function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return Err((no_function(kind, &item, error), item)),
    };
    let mut attrs = vec![read(kind, Span::call_site(), arguments)];
    function.attrs.retain(|attribute| match ours(attribute) {
        Some((kind, span, arguments)) => {
            attrs.push(read(kind, span, arguments));
            false
        }
        None => true,
    });
    Ok(Parsed { function, attrs })
}

/// Whether an attribute is one of ours, by the last part of its path.
fn ours(attribute: &Attribute) -> Option<(Kind, Span, TokenStream)> {
    let ident = &attribute.path().segments.last()?.ident;
    let kind = [Kind::Sync, Kind::Async]
        .into_iter()
        .find(|kind| ident == kind.name())?;
    let arguments = match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    Some((kind, ident.span(), arguments))
}

fn read(kind: Kind, span: Span, tokens: TokenStream) -> Attr {
    let mut arguments = Vec::new();
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            arguments.push(argument(input)?);
            if !input.is_empty() {
                input.parse::<Token![,]>().map_err(|error| {
                    syn::Error::new(error.span(), "expected `,` between two arguments")
                })?;
            }
        }
        Ok(())
    };
    let error = parser.parse2(tokens).err();
    Attr {
        kind,
        span,
        arguments,
        error,
    }
}

fn argument(input: ParseStream<'_>) -> syn::Result<Argument> {
    if !input.peek(Ident::peek_any) {
        if let Ok(literal) = input.fork().parse::<LitStr>() {
            let text = literal.value();
            return Err(syn::Error::new(
                literal.span(),
                format!("arguments have names: write `rate = {text:?}`"),
            ));
        }
        return Err(input.error("expected the name of an argument, as in `rate = \"10/m\"`"));
    }
    let name = input.call(Ident::parse_any)?;
    if !input.peek(Token![=]) {
        return Err(syn::Error::new(
            name.span(),
            format!("expected a value: `{name} = …`"),
        ));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() {
        return Err(syn::Error::new(
            name.span(),
            format!("expected a value: `{name} = …`"),
        ));
    }
    Ok(Argument {
        name,
        value: input.parse()?,
    })
}

/// Why an item cannot be guarded.
fn no_function(kind: Kind, item: &TokenStream, error: syn::Error) -> syn::Error {
    let name = kind.name();
    if let Ok(function) = syn::parse2::<TraitItemFn>(item.clone())
        && function.default.is_none()
    {
        return syn::Error::new_spanned(
            function.sig,
            format!(
                "`#[{name}]` guards a body, and this function has none; put it on the \
                 implementation, or on a function that calls this one"
            ),
        );
    }
    let found = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Struct(_)) => "a struct",
        Ok(Item::Enum(_)) => "an enum",
        Ok(Item::Union(_)) => "a union",
        Ok(Item::Trait(_)) => "a trait",
        Ok(Item::Impl(_)) => "an `impl` block",
        Ok(Item::Mod(_)) => "a module",
        Ok(Item::Const(_)) => "a constant",
        Ok(Item::Static(_)) => "a static",
        Ok(Item::Type(_)) => "a type alias",
        Ok(Item::Use(_)) => "an import",
        Ok(Item::ForeignMod(_)) => "an `extern` block",
        Ok(Item::Macro(_)) => "a macro call",
        Ok(Item::Fn(_)) | Err(_) => return error,
        Ok(_) => "something else",
    };
    syn::Error::new(
        Span::call_site(),
        format!("`#[{name}]` can only be put on a function, found {found}"),
    )
}

/// The expression without the invisible group around what came through a `macro_rules` macro.
pub(super) fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => plain(&group.expr),
        expr => expr,
    }
}

/// The string literal that it is, if it is one.
pub(super) fn text(expr: &Expr) -> Option<&LitStr> {
    match plain(expr) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => Some(literal),
        _ => None,
    }
}
