//! What a function returns, and so how it can say no, and which of the macros guards it.

use syn::punctuated::Punctuated;
use syn::{
    AngleBracketedGenericArguments, GenericArgument, PathArguments, PathSegment, ReturnType,
    Signature, Token, Type, TypeParamBound,
};

use super::Kind;

/// How a function returns.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Nothing.
    Unit,
    /// A type that can be named.
    Value(Type),
    /// `impl IntoResponse` or `impl Responder`.
    Response,
    /// Another `impl Trait`: only the user knows its type.
    Opaque(Type),
    /// A future that the body makes.
    Future {
        /// What it gives; `None` where it holds an `impl Trait`.
        output: Option<Type>,
        /// Whether it is boxed.
        boxed: bool,
    },
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
        _ => Ok(future.unwrap_or_else(|| returned(&signature.output))),
    }
}

fn returned(output: &ReturnType) -> Shape {
    let ReturnType::Type(_, ty) = output else {
        return Shape::Unit;
    };
    match plain(ty) {
        Type::ImplTrait(found)
            if trait_of(&found.bounds, &["IntoResponse", "Responder"]).is_some() =>
        {
            Shape::Response
        }
        Type::ImplTrait(_) => Shape::Opaque((**ty).clone()),
        _ => Shape::Value((**ty).clone()),
    }
}

/// Whether a type is `impl Future`, `Pin<Box<dyn Future>>`, `BoxFuture` or `LocalBoxFuture`.
fn future(ty: &Type) -> Option<Shape> {
    let named = |output: &Type| (!holds_impl(output)).then(|| output.clone());
    match plain(ty) {
        Type::ImplTrait(found) => {
            let output = output(trait_of(&found.bounds, &["Future"])?)?;
            Some(Shape::Future {
                output: named(output),
                boxed: false,
            })
        }
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let boxed = |output| {
                Some(Shape::Future {
                    output: named(output),
                    boxed: true,
                })
            };
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
