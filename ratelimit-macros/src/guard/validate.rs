//! What the arguments mean, and every mistake in them that can be seen without types.

use proc_macro2::{Span, TokenStream};
use ratelimit_core::{Algorithm, Mode, OnError, Wait, WaitError};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, Ident, LitStr, Path, Signature, parse_quote};

use super::key::{self, Key};
use super::limits::{self, Burst, RateArgument};
use super::parse::{Argument, Attr, Parsed, plain, text};
use super::shape::{self, Returned, Shape};
use super::{Errors, names};
use crate::suggest::{did_you_mean, list};

/// The arguments that there are.
const ARGUMENTS: [&str; 14] = [
    "rate",
    "key",
    "algorithm",
    "burst",
    "backend",
    "cost",
    "skip_if",
    "wait",
    "on_limit",
    "on_error",
    "mode",
    "name",
    "request",
    "crate",
];

/// One attribute, understood.
pub(super) struct Guard {
    /// The path of `__private`.
    pub(super) private: Path,
    pub(super) rate: RateArgument,
    pub(super) key: Option<(Key, String)>,
    pub(super) algorithm: Algorithm,
    pub(super) backend: Option<LitStr>,
    pub(super) cost: Option<Expr>,
    /// The cost, where it is a literal.
    pub(super) known_cost: Option<u32>,
    pub(super) skip_if: Option<Expr>,
    pub(super) wait: Option<Wait>,
    pub(super) on_limit: Option<Expr>,
    pub(super) on_error: Option<OnError>,
    pub(super) mode: Option<Mode>,
    pub(super) name: Option<LitStr>,
    pub(super) request: Option<Ident>,
}

/// A function with its guards, the outermost first.
pub(super) struct Guarded {
    pub(super) guards: Vec<Guard>,
    pub(super) shape: Shape,
}

pub(super) fn validate(parsed: &Parsed) -> syn::Result<Guarded> {
    let mut errors = Errors::default();
    let signature = &parsed.function.sig;
    if let Some(constness) = &signature.constness {
        errors.push(syn::Error::new_spanned(
            constness,
            "a `const fn` cannot be guarded: it may run while compiling, where there is no limit \
             to ask; remove `const`, or guard a function that calls it",
        ));
    }
    let names = parsed.names();
    let mut guards = Vec::new();
    let mut shape = None;
    for attr in &parsed.attrs {
        // Where it fails, the arguments are judged all the same.
        let found = errors.take(shape::shape(attr.kind, signature));
        shape = found.or(shape);
        guards.extend(guard(attr, &names, &mut errors));
    }
    if let Some(shape) = &shape
        && guards.len() == parsed.attrs.len()
    {
        can_say_no(shape, &guards, signature, &mut errors);
    }
    errors.into_result()?;
    match shape {
        Some(shape) => Ok(Guarded { guards, shape }),
        None => Err(syn::Error::new(
            Span::call_site(),
            "the function cannot be guarded",
        )),
    }
}

/// Whether an `impl Trait` can be a rejection. The compiler asks the same of types that it can name.
fn can_say_no(shape: &Shape, guards: &[Guard], signature: &Signature, errors: &mut Errors) {
    let with = guards
        .iter()
        .filter(|guard| guard.on_limit.is_some())
        .count();
    match &shape.returned {
        Returned::Opaque(ty) if with < guards.len() => errors.push(syn::Error::new_spanned(
            ty,
            "a rejected call has nothing to return here; add `on_limit = |rejection| …`, which \
             makes a value of the same type, or return a `Result` or an `Option`",
        )),
        Returned::Response if with > 0 && with < guards.len() => {
            errors.push(syn::Error::new_spanned(
                &signature.output,
                "with several attributes on `impl Trait`, either all or none need `on_limit`",
            ));
        }
        _ => {}
    }
}

fn guard(attr: &Attr, names: &[Ident], errors: &mut Errors) -> Option<Guard> {
    let mut arguments = Arguments {
        attr,
        names,
        errors,
    };
    arguments.names();
    let krate = arguments.krate();
    let private: Path = parse_quote! { #krate::__private };
    let algorithm = arguments.named("algorithm", &Algorithm::ALL, Algorithm::name);
    let given = arguments.value("algorithm").is_some();
    let on_error = arguments.named("on_error", &OnError::ALL, OnError::name);
    let mode = arguments.named("mode", &Mode::ALL, Mode::name);
    let name = arguments.text("name");
    let backend = arguments.text("backend");
    let request = arguments.request();
    let wait = arguments.wait();

    let known = if given {
        algorithm
    } else {
        Some(Algorithm::default())
    };
    let burst = arguments.value("burst").cloned();
    let burst = burst.map(|burst| limits::burst(&burst, known, arguments.errors));
    // A burst that is wrong shall not make the rates wrong, too.
    let usable = burst.as_ref().and_then(Option::as_ref);
    let rate = arguments.rate(usable, &private);
    let (cost, known_cost) = arguments.cost(rate.as_ref(), known);
    let key = arguments.key(&private);
    Some(Guard {
        private,
        rate: rate?,
        key: match (arguments.value("key"), key) {
            (Some(_), None) => return None,
            (_, key) => key,
        },
        algorithm: known?,
        backend,
        cost,
        known_cost,
        skip_if: arguments.value("skip_if").cloned(),
        wait,
        on_limit: arguments.value("on_limit").cloned(),
        on_error,
        mode,
        name,
        request,
    })
}

struct Arguments<'a> {
    attr: &'a Attr,
    /// What the function's parameters bind.
    names: &'a [Ident],
    errors: &'a mut Errors,
}

impl<'a> Arguments<'a> {
    fn value(&self, name: &str) -> Option<&'a Expr> {
        let attr: &'a Attr = self.attr;
        let mut arguments = attr.arguments.iter();
        arguments
            .find(|argument| argument.name == name)
            .map(|argument| &argument.value)
    }

    /// Unknown and duplicate names, and what stopped the reading.
    fn names(&mut self) {
        for (index, Argument { name, .. }) in self.attr.arguments.iter().enumerate() {
            let text = name.to_string();
            if !ARGUMENTS.contains(&text.as_str()) {
                let meant = did_you_mean(&text, ARGUMENTS);
                let message = format!(
                    "unknown argument `{text}`{meant} (there are {})",
                    list(ARGUMENTS)
                );
                self.errors.push(syn::Error::new(name.span(), message));
            }
            if self.attr.arguments[..index]
                .iter()
                .any(|before| before.name == *name)
            {
                let message = format!("`{text}` is given twice");
                self.errors.push(syn::Error::new(name.span(), message));
            }
        }
        if let Some(error) = &self.attr.errors {
            self.errors.push(error.clone());
        }
    }

    fn krate(&mut self) -> Path {
        let default = || parse_quote! { ::ratelimit };
        let Some(value) = self.value("crate") else {
            return default();
        };
        if let Expr::Path(path) = plain(value)
            && path.qself.is_none()
        {
            return path.path.clone();
        }
        let parsed = text(value).and_then(|literal| literal.parse().ok());
        parsed.unwrap_or_else(|| {
            let message = "expected a path, such as `crate = my_crate::ratelimit`";
            self.errors.push(syn::Error::new_spanned(value, message));
            default()
        })
    }

    /// A text that is one of several names.
    fn named<T: Copy>(
        &mut self,
        argument: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let value = self.value(argument)?;
        let names = || all.iter().map(|known| name(*known));
        let Some(literal) = text(value) else {
            let message = format!("expected text, one of {}", quoted(names()));
            self.errors.push(syn::Error::new_spanned(value, message));
            return None;
        };
        let found = literal.value();
        let known = all.iter().copied().find(|known| name(*known) == found);
        if known.is_none() {
            let meant = did_you_mean(&found, names());
            let message = format!(
                "unknown {argument} {found:?}{meant} (there are {})",
                quoted(names())
            );
            self.errors.push(syn::Error::new(literal.span(), message));
        }
        known
    }

    /// A text that is a name of the user's own.
    fn text(&mut self, argument: &str) -> Option<LitStr> {
        let value = self.value(argument)?;
        let Some(literal) = text(value) else {
            let message = format!("expected text: `{argument} = \"…\"`");
            self.errors.push(syn::Error::new_spanned(value, message));
            return None;
        };
        let found = literal.value();
        if found.trim().is_empty() || found.trim() != found || found.chars().any(char::is_control) {
            let message = format!(
                "`{argument}` must not be empty, begin or end with a blank, or contain control \
                 characters, found {found:?}"
            );
            self.errors.push(syn::Error::new(literal.span(), message));
            return None;
        }
        Some(literal.clone())
    }

    /// How long a call may wait for its place.
    fn wait(&mut self) -> Option<Wait> {
        let value = self.value("wait")?;
        let Some(literal) = text(value) else {
            let message = "a wait is text that is known while compiling: a number and a unit, such \
                           as `wait = \"500ms\"`";
            self.errors.push(syn::Error::new_spanned(value, message));
            return None;
        };
        let wait = literal.value().parse();
        let wait = wait.map_err(|error: WaitError| syn::Error::new(literal.span(), error));
        self.errors.take(wait)
    }

    fn rate(&mut self, burst: Option<&Burst>, private: &Path) -> Option<RateArgument> {
        match self.value("rate") {
            Some(rate) => limits::rate(rate, burst, private, self.errors),
            None => {
                // Where the arguments could not be read, it may be what was not reached.
                if self.attr.errors.is_none() {
                    let message = "`rate` is missing, such as `rate = \"10/m\"`";
                    self.errors.push(syn::Error::new(self.attr.span, message));
                }
                None
            }
        }
    }

    /// The cost, and its value where that is known; it must fit whatever is known of the limits.
    fn cost(
        &mut self,
        rate: Option<&RateArgument>,
        algorithm: Option<Algorithm>,
    ) -> (Option<Expr>, Option<u32>) {
        let Some(expr) = self.value("cost") else {
            return (None, None);
        };
        let known = self.errors.take(limits::integer(expr, "cost")).flatten();
        if let (Some(cost), Some(rate), Some(algorithm)) = (known, rate, algorithm) {
            let too_small = rate
                .known
                .iter()
                .find(|rates| rates.capacity(algorithm) < cost);
            if let Some(rates) = too_small {
                let (limits, capacity) = (rates.limits(), rates.capacity(algorithm));
                let message = format!(
                    "a cost of {cost} can never be admitted: \"{limits}\" admits at most \
                     {capacity} at once; lower the cost, or raise the rate or its burst"
                );
                self.errors.push(syn::Error::new_spanned(expr, message));
            }
        }
        // With its type: a literal alone would be an `i32`.
        let expr = known.map_or_else(|| expr.clone(), |cost| parse_quote! { #cost });
        (Some(expr), known)
    }

    fn key(&mut self, private: &Path) -> Option<(Key, String)> {
        let key = match self.value("key") {
            Some(expr) => {
                let key = key::key(expr, self.names, private, self.errors)?;
                Some((key, key::described(expr)))
            }
            None => None,
        };
        if !matches!(key, Some((Key::Source(_), _)))
            && let Some(request) = self.value("request")
        {
            let found = if key.is_some() {
                "is made from the arguments"
            } else {
                "is not given"
            };
            let message = format!(
                "`request` says where a named source such as \"ip\" is found, but `key` {found}; \
                 remove `request`"
            );
            self.errors.push(syn::Error::new_spanned(request, message));
        }
        key
    }

    fn request(&mut self) -> Option<Ident> {
        let value = self.value("request")?;
        let found = match (plain(value), text(value)) {
            (_, Some(literal)) => literal.value(),
            (Expr::Path(path), _) => path
                .path
                .get_ident()
                .map(|ident| ident.unraw().to_string())
                .unwrap_or_default(),
            _ => String::new(),
        };
        if let Some(name) = names::find(self.names, &found, value.span()) {
            return Some(name);
        }
        let names = names::texts(self.names);
        let arguments = match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("they are {}", list(names.iter().map(String::as_str))),
        };
        let message = format!("expected the name of one of the function's arguments; {arguments}");
        self.errors.push(syn::Error::new_spanned(value, message));
        None
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Guard {
    /// The source of its key, when it is to be found in a request that nobody named.
    pub(super) fn looks_for(&self) -> Option<&TokenStream> {
        match &self.key {
            Some((Key::Source(source), _)) if self.request.is_none() => Some(source),
            _ => None,
        }
    }
}
