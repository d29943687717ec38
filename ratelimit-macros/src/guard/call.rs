//! What one call asks: everything that the user wrote as an expression, evaluated to owned values.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, Ident, ItemFn, Local, Pat, parse_quote};

use super::key::Key;
use super::validate::Guard;

/// A local of ours. Its hygiene hides it from the user's code, its name keeps it apart from the
/// user's constants and statics, which no pattern can shadow.
pub(super) fn local(name: &str) -> Ident {
    format_ident!("__ratelimit_{name}", span = Span::mixed_site())
}

pub(super) fn numbered(name: &str, index: usize) -> Ident {
    local(&format!("{name}_{index}"))
}

/// How the calls of a function are evaluated.
pub(super) struct Calls<'a> {
    guards: &'a [Guard],
    arguments: Vec<Argument>,
    /// Requests are looked for before the arguments are taken apart.
    ahead: bool,
}

/// A parameter that may be a request.
struct Argument {
    /// Where it exists.
    cfgs: Vec<Attribute>,
    name: Ident,
}

impl<'a> Calls<'a> {
    /// Gives parameters names where a request has to be looked for in all of them; answers what
    /// comes before everything else in the body.
    pub(super) fn new(
        function: &mut ItemFn,
        rebound: &[Local],
        guards: &'a [Guard],
    ) -> (Self, TokenStream) {
        let looks = guards.iter().any(|guard| guard.looks_for().is_some());
        let mut lets = TokenStream::new();
        if looks {
            lets.extend(name_patterns(function));
        }
        lets.extend(rebound.iter().map(Local::to_token_stream));
        let calls = Self {
            guards,
            arguments: function.sig.inputs.iter().filter_map(argument).collect(),
            ahead: looks && !lets.is_empty(),
        };
        let mut prelude = TokenStream::new();
        for (index, guard) in guards.iter().enumerate().filter(|_| calls.ahead) {
            if let Some(source) = guard.looks_for() {
                let (name, key) = (numbered("source", index), calls.look(guard, source));
                prelude.extend(hygienic! { let #name = #key; });
            }
        }
        prelude.extend(lets);
        (calls, prelude)
    }

    /// An expression: one call, evaluated. No temporary of it outlives the statement that made it,
    /// so that none is held while a later argument awaits.
    pub(super) fn call(&self, index: usize) -> TokenStream {
        let guard = &self.guards[index];
        let private = &guard.private;
        let call = local("call");
        let mut steps = Vec::new();
        if let Some(computed) = &guard.rate.computed {
            let limits = &computed.limits;
            steps.push(hygienic! { #call.limits(#limits) });
            if let Some(burst) = &computed.burst {
                steps.push(hygienic! { #call.burst(#burst) });
            }
        }
        if let Some(cost) = &guard.cost {
            let span = cost.span().resolved_at(Span::mixed_site());
            steps.push(quote_spanned! { span=> #call.cost(#cost) });
        }
        let key = self.key(index);
        let evaluated = match steps.pop() {
            None => key,
            Some(last) => hygienic! { { let #call = #key; #(let #call = #steps;)* #last } },
        };
        match &guard.skip_if {
            None => evaluated,
            Some(skip_if) => {
                let skip = local("skip");
                hygienic! {
                    {
                        let #skip: ::core::primitive::bool = #skip_if;
                        if #skip { #private::Call::skipped() } else { #evaluated }
                    }
                }
            }
        }
    }

    /// A call with its key.
    fn key(&self, index: usize) -> TokenStream {
        let guard = &self.guards[index];
        let private = &guard.private;
        match (&guard.key, &guard.request) {
            (None, _) => hygienic! { #private::Call::new() },
            (Some((Key::Arguments(keyed), _)), _) => keyed.clone(),
            (Some((Key::Source(source), _)), Some(request)) => {
                let span = request.span().resolved_at(Span::mixed_site());
                let context = quote_spanned! { span=> #private::request(&#request) };
                hygienic! { #private::Call::from_source(#source, &[#context]) }
            }
            (Some((Key::Source(_), _)), None) if self.ahead => {
                numbered("source", index).into_token_stream()
            }
            (Some((Key::Source(source), _)), None) => self.look(guard, source),
        }
    }

    /// Looks for the request in every argument; the compiler finds out which of them are.
    fn look(&self, guard: &Guard, source: &TokenStream) -> TokenStream {
        let private = &guard.private;
        let contexts = self.arguments.iter().map(|Argument { cfgs, name }| {
            hygienic! { #(#cfgs)* (&&#private::Probe(&#name)).context() }
        });
        let traits = (!self.arguments.is_empty()).then(|| {
            hygienic! { use #private::{ViaContext as _, ViaNothing as _}; }
        });
        hygienic! { { #traits #private::Call::from_source(#source, &[#(#contexts),*]) } }
    }
}

/// Gives every parameter that is a pattern a name, so that it can be looked at; answers the `let`s
/// that take them apart. What begins with `_` is not to be used under that name, so it counts.
fn name_patterns(function: &mut ItemFn) -> TokenStream {
    let mut lets = TokenStream::new();
    for (index, input) in function.sig.inputs.iter_mut().enumerate() {
        let FnArg::Typed(typed) = input else {
            continue;
        };
        match &*typed.pat {
            Pat::Ident(pat) if pat.subpat.is_none() && !pat.ident.to_string().starts_with('_') => {}
            _ => {
                let (name, cfgs) = (numbered("argument", index), cfgs(&typed.attrs));
                let pattern = core::mem::replace(&mut *typed.pat, parse_quote! { #name });
                if !matches!(pattern, Pat::Wild(_)) {
                    lets.extend(hygienic! {
                        #(#cfgs)*
                        #[allow(clippy::no_effect_underscore_binding)]
                        let #pattern = #name;
                    });
                }
            }
        }
    }
    lets
}

/// A parameter that has a name.
fn argument(input: &FnArg) -> Option<Argument> {
    match input {
        FnArg::Receiver(receiver) => Some(Argument {
            cfgs: cfgs(&receiver.attrs),
            name: Ident::new("self", receiver.self_token.span),
        }),
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(pat) => Some(Argument {
                cfgs: cfgs(&typed.attrs),
                name: pat.ident.clone(),
            }),
            _ => None,
        },
    }
}

fn cfgs(attrs: &[Attribute]) -> Vec<Attribute> {
    let cfgs = attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    cfgs.cloned().collect()
}
