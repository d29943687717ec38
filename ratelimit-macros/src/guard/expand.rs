//! One static and one call for each attribute, around the body as it was.
//!
//! Our statics stand in blocks of their own, in which there is no code of the user's.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::token::Brace;
use syn::{Block, Expr, ItemFn, Path, ReturnType, Stmt, Type, parse_quote_spanned};

use super::async_trait;
use super::call::{Calls, local, numbered};
use super::shape::{Future, Returned, holds_impl};
use super::site::site;
use super::validate::{Guard, Guarded};

pub(super) fn expand(function: &ItemFn, guarded: &Guarded) -> TokenStream {
    let Some(first) = guarded.guards.first() else {
        return function.to_token_stream();
    };
    let mut function = function.clone();
    let rebound = async_trait::take(&mut function);
    let outer = function.block.brace_token;
    // Braces that somebody wrote around one expression would be found needless inside of ours.
    let span = outer.span.join().resolved_at(Span::mixed_site());
    function.block.brace_token = Brace(span);
    let (calls, prelude) = Calls::new(&mut function, &rebound, &guarded.guards);
    let body = Body {
        private: &first.private,
        function: &function,
        guarded,
        calls: &calls,
    };
    let body = match guarded.shape.future {
        Some(future) => body.future(future),
        None => body.run(),
    };
    let body = Stmt::Expr(Expr::Verbatim(hygienic! { #prelude #body }), None);
    *function.block = Block {
        brace_token: outer,
        stmts: vec![body],
    };
    function.into_token_stream()
}

struct Body<'a> {
    private: &'a Path,
    function: &'a ItemFn,
    guarded: &'a Guarded,
    calls: &'a Calls<'a>,
}

impl Body<'_> {
    /// The body of a function that runs it itself.
    fn run(&self) -> TokenStream {
        let body = &self.function.block;
        let is_async = self.function.sig.asyncness.is_some();
        if !self.responds() {
            let guards = self.early_returns(is_async, |index| self.calls.call(index));
            return hygienic! { #guards #body };
        }
        // The body's `return`s must not leave without being made a response.
        let private = self.private;
        let value = if is_async {
            hygienic! { async move #body.await }
        } else {
            hygienic! { #private::call_once(move || #body) }
        };
        self.response(is_async, &value, |index| self.calls.call(index))
    }

    /// The body of a function that returns a future: it runs at the call, and its future is polled
    /// when every guard says yes.
    fn future(&self, future: Future) -> TokenStream {
        let private = self.private;
        let mut lets = TokenStream::new();
        for index in 0..self.guarded.guards.len() {
            let (name, call) = (numbered("call", index), self.calls.call(index));
            lets.extend(hygienic! { let #name = #call; });
        }
        let name = local("future");
        let evaluated = |index| numbered("call", index).into_token_stream();
        let polled = if self.responds() {
            self.response(true, &hygienic! { #name.await }, evaluated)
        } else {
            let guards = self.early_returns(true, evaluated);
            hygienic! { #guards #name.await }
        };
        let body = &self.function.block;
        // Said, so that different futures become one boxed type.
        let ty = match (&self.function.sig.output, future) {
            (ReturnType::Type(arrow, ty), Future::Boxed) if !holds_impl(ty) => {
                Some(hygienic! { #arrow #ty })
            }
            _ => None,
        };
        let guarded = match future {
            Future::Boxed => hygienic! { ::std::boxed::Box::pin(async move { #polled }) },
            Future::Opaque => hygienic! { async move { #polled } },
        };
        hygienic! {
            #lets
            let #name = #private::call_once(move || #ty #body);
            #guarded
        }
    }

    /// Whether the body's value and a rejection become one type on the way out.
    fn responds(&self) -> bool {
        matches!(self.guarded.shape.returned, Returned::Response)
            && self
                .guarded
                .guards
                .iter()
                .all(|guard| guard.on_limit.is_none())
    }

    /// Statements: each guard returns early when it says no.
    fn early_returns(&self, is_async: bool, call: impl Fn(usize) -> TokenStream) -> TokenStream {
        let (admitted, rejection) = (local("admitted"), local("rejection"));
        let ty = self.returned();
        let guards = self.guarded.guards.iter().enumerate();
        let guards = guards.map(|(index, guard)| {
            let asked = self.ask(index, is_async, &call(index));
            let no = no(guard, ty.as_ref());
            hygienic! {
                let #admitted = match #asked {
                    ::core::result::Result::Ok(#admitted) => #admitted,
                    ::core::result::Result::Err(#rejection) => return #no,
                };
            }
        });
        guards.collect()
    }

    /// An expression: a response, made of the value or of the first rejection.
    fn response(
        &self,
        is_async: bool,
        value: &TokenStream,
        call: impl Fn(usize) -> TokenStream,
    ) -> TokenStream {
        let (admitted, rejection) = (local("admitted"), local("rejection"));
        let mut result = hygienic! { ::core::result::Result::Ok(#value) };
        for index in (0..self.guarded.guards.len()).rev() {
            let asked = self.ask(index, is_async, &call(index));
            result = hygienic! {
                match #asked {
                    ::core::result::Result::Ok(#admitted) => #result,
                    ::core::result::Result::Err(#rejection) => {
                        ::core::result::Result::Err(#rejection)
                    }
                }
            };
        }
        let private = self.private;
        hygienic! { #private::respond(#result) }
    }

    /// An expression: the answer to one call.
    fn ask(&self, index: usize, is_async: bool, call: &TokenStream) -> TokenStream {
        let guard = &self.guarded.guards[index];
        let (private, name) = (&guard.private, local("call"));
        let site = site(index, guard, &self.function.sig.ident);
        let answer = if is_async {
            hygienic! { #private::enter_async(#site, #name).await }
        } else {
            hygienic! { #private::enter(#site, #name) }
        };
        hygienic! { { let #name = #call; #answer } }
    }

    /// The type that a rejection must become, where it can be named.
    fn returned(&self) -> Option<Type> {
        match &self.guarded.shape.returned {
            Returned::Unit => {
                let span = self.function.sig.ident.span();
                Some(parse_quote_spanned! { span=> () })
            }
            Returned::Value(ty) if !holds_impl(ty) => Some(ty.clone()),
            _ => None,
        }
    }
}

/// What a rejected call returns.
fn no(guard: &Guard, ty: Option<&Type>) -> TokenStream {
    let (private, rejection) = (&guard.private, local("rejection"));
    match (&guard.on_limit, ty) {
        (Some(on_limit), Some(ty)) => {
            hygienic! { #private::on_limit::<#ty>(#on_limit, #rejection) }
        }
        (Some(on_limit), None) => hygienic! { #private::on_limit(#on_limit, #rejection) },
        (None, Some(ty)) => {
            let span = ty.span().resolved_at(Span::mixed_site());
            quote_spanned! { span=> <#ty as #private::FromRejection>::from_rejection(#rejection) }
        }
        (None, None) => hygienic! { #private::FromRejection::from_rejection(#rejection) },
    }
}
