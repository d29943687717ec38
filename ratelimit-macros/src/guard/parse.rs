//! The function, and the arguments of each attribute, as they were written.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Ident, Item, ItemFn, Lit, LitStr, Local, Meta, Token,
    TraitItemFn,
};

use super::{Errors, Kind, async_trait, names};

/// One attribute.
#[derive(Debug)]
pub(super) struct Attr {
    pub(super) kind: Kind,
    /// Where it stands, for what is missing in it.
    pub(super) span: Span,
    pub(super) arguments: Vec<Argument>,
    /// What could not be read as an argument.
    pub(super) errors: Option<syn::Error>,
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
    /// The patterns that `async-trait` moved from the parameters into the body.
    pub(super) rebound: Vec<Local>,
    pub(super) attrs: Vec<Attr>,
}

impl Parsed {
    /// The names that the parameters bind, those inside patterns included.
    pub(super) fn names(&self) -> Vec<Ident> {
        let parameters = self
            .function
            .sig
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(typed) => Some(&*typed.pat),
                FnArg::Receiver(_) => None,
            });
        names::bound(parameters.chain(self.rebound.iter().map(|local| &local.pat)))
    }
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
        Err(error) => return Err((no_function(kind, &item, error), without_ours(item))),
    };
    let mut attrs = vec![read(kind, Span::call_site(), arguments)];
    function.attrs.retain(|attribute| match ours(attribute) {
        Some((kind, span, arguments)) => {
            attrs.push(read(kind, span, arguments));
            false
        }
        None => true,
    });
    let rebound = async_trait::take(&mut function.clone());
    Ok(Parsed {
        function,
        rebound,
        attrs,
    })
}

/// Whether an attribute is one of ours, as far as its path tells: the bare name, the name in a crate
/// or module called `ratelimit`, or one that says with `crate = …` where ours is.
fn ours(attribute: &Attribute) -> Option<(Kind, Span, TokenStream)> {
    let mut path = attribute.path().segments.iter().rev();
    let ident = &path.next()?.ident;
    let kind = [Kind::Sync, Kind::Async]
        .into_iter()
        .find(|kind| ident == kind.name())?;
    let arguments = match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    let home = path.next().map(|segment| &segment.ident);
    let is_ours = home.is_none_or(|home| home == "ratelimit") || says_where(&arguments);
    is_ours.then(|| (kind, ident.span(), arguments))
}

/// Whether there is a `crate = …` among the arguments.
fn says_where(arguments: &TokenStream) -> bool {
    let tokens: Vec<_> = arguments.clone().into_iter().collect();
    tokens.windows(2).any(|pair| {
        matches!(pair, [TokenTree::Ident(name), TokenTree::Punct(equals)]
            if *name == "crate" && equals.as_char() == '=')
    })
}

/// An item without our attributes: each of them would find the same fault.
fn without_ours(item: TokenStream) -> TokenStream {
    let parser = |input: ParseStream<'_>| {
        let mut attrs = input.call(Attribute::parse_outer)?;
        attrs.retain(|attribute| ours(attribute).is_none());
        let item: TokenStream = input.parse()?;
        Ok(quote! { #(#attrs)* #item })
    };
    parser.parse2(item.clone()).unwrap_or(item)
}

/// Reads all arguments; one that cannot be read does not hide what is wrong with the others.
fn read(kind: Kind, span: Span, tokens: TokenStream) -> Attr {
    let (mut arguments, mut errors) = (Vec::new(), Errors::default());
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            match argument(input) {
                Ok(argument) => arguments.push(argument),
                Err(error) => {
                    errors.push(error);
                    skip_to_comma(input)?;
                }
            }
            if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                errors.push(input.error("expected `,` between two arguments"));
                if !input.peek(Ident::peek_any) {
                    skip_to_comma(input)?;
                    input.parse::<Option<Token![,]>>()?;
                }
            }
        }
        Ok(())
    };
    let read = parser.parse2(tokens);
    errors.take(read);
    Attr {
        kind,
        span,
        arguments,
        errors: errors.into_result().err(),
    }
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
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
