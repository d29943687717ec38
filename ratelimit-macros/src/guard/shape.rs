//! What a function returns, and so how it can say no, and which of the macros guards it.

use syn::punctuated::Punctuated;
use syn::{
    AngleBracketedGenericArguments, GenericArgument, PathArguments, PathSegment, ReturnType,
    Signature, Token, Type, TypeParamBound,
};

use super::Kind;

/// How a function answers.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// What the call gives, or the future that it returns.
    pub(super) returned: Returned,
    /// Whether the body makes a future; not for `async fn`.
    pub(super) future: Option<Future>,
}

/// What a call gives in the end.
#[derive(Clone, Debug)]
pub(super) enum Returned {
    /// Nothing.
    Unit,
    /// A type that the compiler can be asked about.
    Value(Type),
    /// `impl IntoResponse` or `impl Responder`.
    Response,
    /// Another `impl Trait`, or `!`: only the user knows what to return.
    Opaque(Type),
}

/// A future that the body makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Future {
    /// `impl Future`
    Opaque,
    /// `Pin<Box<dyn Future>>`, `BoxFuture`
    Boxed,
}

/// What the function returns; an error when the other macro is meant.
pub(super) fn shape(kind: Kind, signature: &Signature) -> syn::Result<Shape> {
    let future = match &signature.output {
        ReturnType::Type(_, ty) if signature.asyncness.is_none() => future(ty),
        _ => None,
    };
    match (kind, &signature.asyncness, &future) {
        (Kind::Sync, Some(asyncness), _) => Err(syn::Error::new_spanned(
            asyncness,
            "`#[ratelimit]` guards functions that are not async; use `#[aratelimit]`",
        )),
        (Kind::Sync, None, Some(_)) => Err(syn::Error::new_spanned(
            &signature.output,
            "`#[ratelimit]` guards functions that run at once, and this one returns a future; use \
             `#[aratelimit]`",
        )),
        (Kind::Async, None, None) => Err(syn::Error::new_spanned(
            signature.fn_token,
            "`#[aratelimit]` guards async functions and functions that return a future (`impl \
             Future`, `Pin<Box<dyn Future>>` or `BoxFuture`); use `#[ratelimit]`",
        )),
        _ => Ok(future.unwrap_or_else(|| Shape {
            returned: match &signature.output {
                ReturnType::Default => Returned::Unit,
                ReturnType::Type(_, ty) => returned(ty),
            },
            future: None,
        })),
    }
}

fn returned(ty: &Type) -> Returned {
    match plain(ty) {
        Type::ImplTrait(found)
            if trait_of(&found.bounds, &["IntoResponse", "Responder"]).is_some() =>
        {
            Returned::Response
        }
        Type::ImplTrait(_) | Type::Never(_) => Returned::Opaque(ty.clone()),
        _ => Returned::Value(ty.clone()),
    }
}

/// Whether a type is `impl Future`, `Pin<Box<dyn Future>>`, `BoxFuture` or `LocalBoxFuture`.
fn future(ty: &Type) -> Option<Shape> {
    let shape = |output: &Type, future| {
        Some(Shape {
            returned: returned(output),
            future: Some(future),
        })
    };
    match plain(ty) {
        Type::ImplTrait(found) => {
            let output = output(trait_of(&found.bounds, &["Future"])?)?;
            shape(output, Future::Opaque)
        }
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let boxed = |output| shape(output, Future::Boxed);
            if last.ident == "BoxFuture" || last.ident == "LocalBoxFuture" {
                return boxed(types(last).last()?);
            }
            let inner = wrapped(last, "Pin").and_then(|inner| match plain(inner) {
                Type::Path(path) => wrapped(path.path.segments.last()?, "Box"),
                _ => None,
            })?;
            match plain(inner) {
                Type::TraitObject(object) => boxed(output(trait_of(&object.bounds, &["Future"])?)?),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The only type in the angle brackets of that name.
fn wrapped<'a>(segment: &'a PathSegment, name: &str) -> Option<&'a Type> {
    if segment.ident == name {
        types(segment).next()
    } else {
        None
    }
}

fn arguments(segment: &PathSegment) -> Option<&AngleBracketedGenericArguments> {
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments),
        _ => None,
    }
}

fn types(segment: &PathSegment) -> impl DoubleEndedIterator<Item = &Type> {
    arguments(segment)
        .into_iter()
        .flat_map(|arguments| &arguments.args)
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}

/// The last part of the bound that is one of these traits.
fn trait_of<'a>(
    bounds: &'a Punctuated<TypeParamBound, Token![+]>,
    names: &[&str],
) -> Option<&'a PathSegment> {
    bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .filter(|last| names.iter().any(|name| last.ident == name)),
        _ => None,
    })
}

/// The `T` of `Future<Output = T>`.
fn output(future: &PathSegment) -> Option<&Type> {
    arguments(future)?
        .args
        .iter()
        .find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(&assoc.ty),
            _ => None,
        })
}

fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Paren(paren) => plain(&paren.elem),
        Type::Group(group) => plain(&group.elem),
        ty => ty,
    }
}

/// Whether the type has an `impl Trait` in it, so that it cannot be written in a body.
pub(super) fn holds_impl(ty: &Type) -> bool {
    struct Finder(bool);
    impl<'ast> syn::visit::Visit<'ast> for Finder {
        fn visit_type_impl_trait(&mut self, _: &'ast syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut finder = Finder(false);
    syn::visit::Visit::visit_type(&mut finder, ty);
    finder.0
}
