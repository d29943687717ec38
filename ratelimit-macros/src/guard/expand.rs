//! One static and one call for each attribute, around the body as it was.
//!
//! Our locals have the hygiene of a `macro_rules` macro (`Span::mixed_site`), so that the user's
//! code cannot see them; our statics stand in blocks of their own, in which there is no code of the
//! user's.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use ratelimit_core::{Algorithm, Mode, OnError};
use syn::spanned::Spanned;
use syn::{FnArg, Ident, ItemFn, Pat, Path, Type, parse_quote, parse_quote_spanned};

use super::key::Key;
use super::shape::{Shape, holds_impl};
use super::validate::{Guard, Guarded};

pub(super) fn expand(function: &ItemFn, guarded: &Guarded) -> TokenStream {
    let guards = &guarded.guards;
    let Some(first) = guards.first() else {
        return quote! { #function };
    };
    let mut function = function.clone();
    let patterns = if guards.iter().any(Guard::looks_for_request) {
        name_patterns(&mut function)
    } else {
        TokenStream::new()
    };
    let sources = sources(&function, guards);
    let parts = Parts {
        private: &first.private,
        function: &function,
        guards,
        is_async: function.sig.asyncness.is_some(),
    };
    let body = match &guarded.shape {
        Shape::Response if guards.iter().all(|guard| guard.on_limit.is_none()) => parts.response(),
        Shape::Response | Shape::Opaque(_) => parts.early_return(None),
        Shape::Unit => {
            let name = function.sig.ident.span();
            parts.early_return(Some(&parse_quote_spanned! { name=> () }))
        }
        Shape::Value(ty) if holds_impl(ty) => parts.early_return(None),
        Shape::Value(ty) => parts.early_return(Some(ty)),
        Shape::Future { output, boxed } => parts.future(output.as_ref(), *boxed),
    };
    function.block = parse_quote! { { #sources #patterns #body } };
    quote! { #function }
}

/// A local of ours.
fn local(name: &str, index: usize) -> Ident {
    format_ident!("__ratelimit_{name}_{index}", span = Span::mixed_site())
}

/// Gives every parameter that is a pattern a name, so that it can be looked at; answers the `let`s
/// that take them apart.
fn name_patterns(function: &mut ItemFn) -> TokenStream {
    let mut lets = TokenStream::new();
    for (index, input) in function.sig.inputs.iter_mut().enumerate() {
        if let FnArg::Typed(typed) = input
            && !matches!(&*typed.pat, Pat::Ident(pat) if pat.subpat.is_none())
        {
            let (name, pattern) = (local("argument", index), typed.pat.clone());
            *typed.pat = parse_quote! { #name };
            lets.extend(hygienic! { let #pattern = #name; });
        }
    }
    lets
}

/// The keys that come from requests, read before the arguments are taken apart.
fn sources(function: &ItemFn, guards: &[Guard]) -> TokenStream {
    let mut lets = TokenStream::new();
    for (index, guard) in guards.iter().enumerate() {
        let Some((Key::Source(source), _)) = &guard.key else {
            continue;
        };
        let (name, private) = (local("source", index), &guard.private);
        let call = match &guard.request {
            Some(request) => {
                let span = request.span().resolved_at(Span::mixed_site());
                let context = quote_spanned! { span=> #private::request(&#request) };
                hygienic! { #private::Call::from_source(#source, &[#context]) }
            }
            None => {
                let contexts = function
                    .sig
                    .inputs
                    .iter()
                    .filter_map(argument)
                    .map(|argument| {
                        hygienic! { (&&#private::Probe(&#argument)).context() }
                    });
                let contexts: Vec<_> = contexts.collect();
                let traits = (!contexts.is_empty()).then(|| {
                    hygienic! {
                        #[allow(unused_imports)]
                        use #private::{ViaContext as _, ViaNothing as _};
                    }
                });
                hygienic! { { #traits #private::Call::from_source(#source, &[#(#contexts),*]) } }
            }
        };
        lets.extend(hygienic! { let #name = #call; });
    }
    lets
}

/// The name of a parameter.
fn argument(input: &FnArg) -> Option<Ident> {
    match input {
        FnArg::Receiver(receiver) => Some(Ident::new("self", receiver.self_token.span)),
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(pat) => Some(pat.ident.clone()),
            _ => None,
        },
    }
}

struct Parts<'a> {
    private: &'a Path,
    function: &'a ItemFn,
    guards: &'a [Guard],
    is_async: bool,
}

impl Parts<'_> {
    /// Each guard returns early when it says no; then the body.
    fn early_return(&self, ty: Option<&Type>) -> TokenStream {
        let mut statements = TokenStream::new();
        for (index, guard) in self.guards.iter().enumerate() {
            let (call, admitted) = (local("call", index), local("admitted", index));
            let (asked, made) = (self.asked(index, guard, &call), question(index, guard));
            let no = no(guard, ty);
            statements.extend(hygienic! {
                let #call = #made;
                let _admitted = match #asked {
                    ::core::result::Result::Ok(#admitted) => #admitted,
                    ::core::result::Result::Err(rejection) => return #no,
                };
            });
        }
        let body = &self.function.block;
        hygienic! { #statements #body }
    }

    /// The body's value and a rejection become one type.
    fn response(&self) -> TokenStream {
        let private = self.private;
        let body = &self.function.block;
        let ran = if self.is_async {
            hygienic! { async move #body .await }
        } else {
            hygienic! { #private::call_once(move || #body) }
        };
        let mut result = hygienic! { ::core::result::Result::Ok(#ran) };
        for (index, guard) in self.guards.iter().enumerate().rev() {
            let call = local("call", index);
            let (asked, made) = (self.asked(index, guard, &call), question(index, guard));
            result = hygienic! {
                {
                    let #call = #made;
                    match #asked {
                        ::core::result::Result::Ok(_admitted) => #result,
                        ::core::result::Result::Err(rejection) => {
                            ::core::result::Result::Err(rejection)
                        }
                    }
                }
            };
        }
        hygienic! { #private::respond(#result) }
    }

    /// The body runs at the call; what it returns is polled when every guard says yes.
    fn future(&self, output: Option<&Type>, boxed: bool) -> TokenStream {
        let private = self.private;
        let (mut calls, mut statements) = (TokenStream::new(), TokenStream::new());
        for (index, guard) in self.guards.iter().enumerate() {
            let (call, admitted) = (local("call", index), local("admitted", index));
            let (site, made) = (site(index, guard, self.function), question(index, guard));
            let (private, no) = (&guard.private, no(guard, output));
            calls.extend(hygienic! { let #call = #made; });
            statements.extend(hygienic! {
                let _admitted = match #private::enter_async(#site, #call).await {
                    ::core::result::Result::Ok(#admitted) => #admitted,
                    ::core::result::Result::Err(rejection) => return #no,
                };
            });
        }
        let body = &self.function.block;
        let ty = boxed.then(|| {
            let output = &self.function.sig.output;
            match output {
                syn::ReturnType::Type(_, ty) if !holds_impl(ty) => hygienic! { : #ty },
                _ => TokenStream::new(),
            }
        });
        let future = hygienic! {
            async move {
                #statements
                future.await
            }
        };
        let future = if boxed {
            hygienic! { ::std::boxed::Box::pin(#future) }
        } else {
            future
        };
        hygienic! {
            #calls
            let future #ty = #private::call_once(move || #body);
            #future
        }
    }

    /// The question to the registry.
    fn asked(&self, index: usize, guard: &Guard, call: &Ident) -> TokenStream {
        let private = &guard.private;
        let site = site(index, guard, self.function);
        if self.is_async {
            hygienic! { #private::enter_async(#site, #call).await }
        } else {
            hygienic! { #private::enter(#site, #call) }
        }
    }
}

/// What the call asks: all of the user's expressions, evaluated.
fn question(index: usize, guard: &Guard) -> TokenStream {
    let private = &guard.private;
    let mut call = match &guard.key {
        None => hygienic! { #private::Call::new() },
        Some((Key::Arguments(keyed), _)) => keyed.clone(),
        Some((Key::Source(_), _)) => {
            let source = local("source", index);
            hygienic! { #source }
        }
    };
    if let Some(limits) = &guard.rate.computed {
        call.extend(limits.clone());
    }
    if let Some(cost) = &guard.cost {
        let span = cost.span().resolved_at(Span::mixed_site());
        call.extend(quote_spanned! { span=> .cost(#cost) });
    }
    match &guard.skip_if {
        None => call,
        Some(skip_if) => hygienic! {
            {
                let skip: bool = #skip_if;
                if skip { #private::Call::skipped() } else { #call }
            }
        },
    }
}

/// What a rejected call returns.
fn no(guard: &Guard, ty: Option<&Type>) -> TokenStream {
    let private = &guard.private;
    match (&guard.on_limit, ty) {
        (Some(on_limit), Some(ty)) => {
            hygienic! { #private::on_limit::<#ty>(#on_limit, rejection) }
        }
        (Some(on_limit), None) => hygienic! { #private::on_limit(#on_limit, rejection) },
        (None, Some(ty)) => {
            let span = ty.span().resolved_at(Span::mixed_site());
            quote_spanned! { span=> <#ty as #private::FromRejection>::from_rejection(rejection) }
        }
        (None, None) => hygienic! { #private::FromRejection::from_rejection(rejection) },
    }
}

/// The static, and a reference to it.
fn site(index: usize, guard: &Guard, function: &ItemFn) -> TokenStream {
    let private = &guard.private;
    let algorithm = match guard.algorithm {
        Algorithm::LeakyBucket => hygienic! { LeakyBucket },
        Algorithm::FixedWindow => hygienic! { FixedWindow },
        Algorithm::SlidingWindow => hygienic! { SlidingWindow },
        Algorithm::SlidingWindowCounter => hygienic! { SlidingWindowCounter },
        Algorithm::Gcra => hygienic! { Gcra },
        _ => hygienic! { TokenBucket },
    };
    let name = if let Some(name) = &guard.name {
        let name = name.value();
        hygienic! { #name }
    } else {
        let number = if index == 0 {
            String::new()
        } else {
            format!("#{}", index + 1)
        };
        let path = format!("::{}{number}", function.sig.ident);
        hygienic! { ::core::concat!(::core::module_path!(), #path) }
    };
    let mut more = TokenStream::new();
    if guard.name.is_some() {
        more.extend(hygienic! { .named() });
    }
    if !guard.rate.known.is_empty() {
        let known = guard
            .rate
            .known
            .iter()
            .map(|rates| rates.to_tokens(private));
        more.extend(hygienic! { .limits(&[#(#known),*]) });
    }
    if guard.rate.computed.is_some() {
        more.extend(hygienic! { .dynamic() });
    }
    if let Some(backend) = &guard.backend {
        let backend = backend.value();
        more.extend(hygienic! { .backend(#backend) });
    }
    if let Some(cost) = guard.known_cost {
        more.extend(hygienic! { .cost(#cost) });
    }
    match guard.mode {
        Some(Mode::Shadow) => more.extend(hygienic! { .mode(#private::Mode::Shadow) }),
        Some(Mode::Off) => more.extend(hygienic! { .mode(#private::Mode::Off) }),
        _ => {}
    }
    match guard.on_error {
        Some(OnError::Open) => more.extend(hygienic! { .on_error(#private::OnError::Open) }),
        Some(OnError::Local) => more.extend(hygienic! { .on_error(#private::OnError::Local) }),
        Some(_) => more.extend(hygienic! { .on_error(#private::OnError::Closed) }),
        None => {}
    }
    if let Some((_, key)) = &guard.key {
        more.extend(hygienic! { .key(#key) });
    }
    hygienic! {
        {
            static SITE: #private::Site =
                #private::Site::new(#name, #private::Algorithm::#algorithm)
                    #more
                    .at(::core::file!(), ::core::line!(), ::core::column!());
            #private::inventory::submit! { #private::Collected(&SITE) }
            &SITE
        }
    }
}
