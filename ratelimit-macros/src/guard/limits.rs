//! The arguments `rate` and `burst`: constants where they are literals, expressions where they are
//! not.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use ratelimit_core::Algorithm;
use syn::spanned::Spanned;
use syn::{Block, Expr, ExprLit, ExprMacro, Lit, Path, Stmt, UnOp};

use super::Errors;
use super::parse::{plain, text};
use crate::rates::Rates;

/// The limits of an attribute.
pub(super) struct RateArgument {
    /// Every set of limits that is known.
    pub(super) known: Vec<Rates>,
    /// What each call evaluates; nothing when it is always the one known set.
    pub(super) computed: Option<Computed>,
}

/// What each call evaluates.
pub(super) struct Computed {
    pub(super) limits: TokenStream,
    pub(super) burst: Option<TokenStream>,
}

/// The argument `burst`.
pub(super) enum Burst {
    Literals(Vec<(u32, Span)>, Span),
    Computed(Expr),
}

/// Reads `burst`; only integer literals are judged here, anything else is the compiler's.
pub(super) fn burst(
    expr: &Expr,
    algorithm: Option<Algorithm>,
    errors: &mut Errors,
) -> Option<Burst> {
    if let Some(algorithm) = algorithm.filter(|algorithm| !algorithm.is_bucket()) {
        errors.push(syn::Error::new_spanned(
            expr,
            format!(
                "`{algorithm}` has no burst: its limit is that of the rate; remove `burst`, or use \
                 `token_bucket`, `leaky_bucket` or `gcra`"
            ),
        ));
        return None;
    }
    let elements = match plain(expr) {
        Expr::Array(array) => array.elems.iter().collect::<Vec<_>>(),
        other => vec![other],
    };
    if elements.is_empty() {
        let message = "expected one burst for each rate, found none";
        errors.push(syn::Error::new_spanned(expr, message));
        return None;
    }
    let mut literals = Vec::new();
    for element in &elements {
        match errors.take(integer(element, "burst"))? {
            Some(value) => literals.push((value, element.span())),
            None => return Some(Burst::Computed(expr.clone())),
        }
    }
    Some(Burst::Literals(literals, expr.span()))
}

/// The value of an integer literal; `None` for an expression that is none.
pub(super) fn integer(expr: &Expr, what: &str) -> syn::Result<Option<u32>> {
    let range = || format!("a {what} is a whole number of at most {}", u32::MAX);
    match plain(expr) {
        Expr::Lit(ExprLit {
            lit: Lit::Int(literal),
            ..
        }) => {
            let value = literal.base10_parse::<u128>()?;
            let value = u32::try_from(value).map_err(|_| {
                syn::Error::new(literal.span(), format!("{}, found {value}", range()))
            })?;
            Ok(Some(value))
        }
        Expr::Unary(unary)
            if matches!(unary.op, UnOp::Neg(_)) && matches!(plain(&unary.expr), Expr::Lit(_)) =>
        {
            Err(syn::Error::new_spanned(
                unary,
                format!("a {what} cannot be negative"),
            ))
        }
        Expr::Lit(literal) => {
            let message = format!("{}, or an expression of an integer type", range());
            Err(syn::Error::new_spanned(literal, message))
        }
        _ => Ok(None),
    }
}

/// Reads `rate`, and puts the bursts into what is known of it.
pub(super) fn rate(
    expr: &Expr,
    burst: Option<&Burst>,
    private: &Path,
    errors: &mut Errors,
) -> Option<RateArgument> {
    let mut reader = Reader {
        private,
        burst,
        known: Vec::new(),
        errors,
        failed: false,
        open: false,
    };
    let limits = reader.tail(expr);
    if reader.failed {
        return None;
    }
    let (known, open) = (reader.known, reader.open);
    let burst = match burst {
        Some(Burst::Computed(expr)) => Some((quote! { #expr }, expr.span(), true)),
        // What is no literal gets the bursts at run time; once more for the literals is no harm.
        Some(Burst::Literals(bursts, span)) if open => {
            let values = bursts.iter().map(|(value, _)| value);
            Some((hygienic! { [#(#values),*] }, *span, bursts.len() > 1))
        }
        _ => None,
    };
    if let Some((_, span, true)) = burst
        && let Some(rates) = known.iter().find(|rates| !rates.in_order())
    {
        // Limits forget how they were written; their bursts go by the order of their periods.
        let message = format!(
            "bursts that are computed at each call go to the rates in the order of their periods; \
             write the rate as \"{}\"",
            rates.ordered()
        );
        errors.push(syn::Error::new(span, message));
        return None;
    }
    let is_constant = text(expr).is_some() && burst.is_none();
    let burst = burst.map(|(burst, ..)| burst);
    let computed = (!is_constant).then_some(Computed { limits, burst });
    Some(RateArgument { known, computed })
}

/// Turns the literals in tail position into constants.
struct Reader<'a> {
    private: &'a Path,
    burst: Option<&'a Burst>,
    known: Vec<Rates>,
    errors: &'a mut Errors,
    failed: bool,
    /// Some limits are known only at run time.
    open: bool,
}

impl Reader<'_> {
    fn tail(&mut self, expr: &Expr) -> TokenStream {
        let private = self.private;
        match expr {
            Expr::Group(group) => self.tail(&group.expr),
            Expr::Paren(paren) => self.tail(&paren.expr),
            Expr::Lit(ExprLit {
                lit: Lit::Str(literal),
                ..
            }) => {
                let read = Rates::read(literal).and_then(|rates| self.with_bursts(rates));
                match self.errors.take(read) {
                    Some(rates) => {
                        let limits = rates.to_tokens(private);
                        self.known.push(rates);
                        hygienic! { const { #limits } }
                    }
                    None => self.fail(),
                }
            }
            Expr::Lit(literal) => {
                self.errors.push(syn::Error::new_spanned(
                    literal,
                    "a rate is text, such as \"10/m\", or an expression that is `Into<Limits>`",
                ));
                self.fail()
            }
            Expr::If(branches) => {
                let (cond, then) = (&branches.cond, self.block(&branches.then_branch));
                let Some((_, other)) = &branches.else_branch else {
                    let message = "a rate is needed in any case: add an `else` branch";
                    self.errors.push(syn::Error::new_spanned(branches, message));
                    return self.fail();
                };
                let other = match &**other {
                    Expr::If(_) => self.tail(other),
                    other => {
                        let other = self.tail(other);
                        hygienic! { { #other } }
                    }
                };
                hygienic! { if #cond #then else #other }
            }
            Expr::Match(arms) => {
                let (attrs, matched) = (&arms.attrs, &arms.expr);
                let arms = arms.arms.iter().map(|arm| {
                    let (attrs, pat, body) = (&arm.attrs, &arm.pat, self.tail(&arm.body));
                    hygienic! { #(#attrs)* #pat => { #body } }
                });
                let arms: TokenStream = arms.collect();
                hygienic! { #(#attrs)* match #matched { #arms } }
            }
            Expr::Block(block) if block.label.is_none() => self.block(&block.block),
            Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) => hygienic! { #expr },
            Expr::Macro(call) if diverges(call) => hygienic! { #expr },
            Expr::Path(_) | Expr::Field(_) => {
                self.open = true;
                let span = expr.span().resolved_at(Span::mixed_site());
                quote_spanned! { span=> #private::into_limits_ref(&#expr) }
            }
            expr => {
                self.open = true;
                let span = expr.span().resolved_at(Span::mixed_site());
                quote_spanned! { span=> #private::IntoLimits::into_limits(#expr) }
            }
        }
    }

    fn block(&mut self, block: &Block) -> TokenStream {
        match block.stmts.split_last() {
            Some((Stmt::Expr(last, None), before)) => {
                let last = self.tail(last);
                hygienic! { { #(#before)* #last } }
            }
            _ => hygienic! { #block },
        }
    }

    fn with_bursts(&self, rates: Rates) -> syn::Result<Rates> {
        let Some(Burst::Literals(bursts, span)) = self.burst else {
            return Ok(rates);
        };
        let text = rates.limits().to_string();
        let values: Vec<_> = bursts.iter().map(|(value, _)| *value).collect();
        rates.with_bursts(&values).map_err(|(fault, wrong)| {
            let span = wrong.map_or(*span, |index| bursts[index].1);
            syn::Error::new(span, format!("{fault}, for \"{text}\""))
        })
    }

    fn fail(&mut self) -> TokenStream {
        self.failed = true;
        TokenStream::new()
    }
}

/// Whether a macro call has no value, by its name.
fn diverges(call: &ExprMacro) -> bool {
    let last = call.mac.path.segments.last();
    last.is_some_and(|last| {
        ["panic", "unreachable", "todo", "unimplemented"]
            .iter()
            .any(|name| last.ident == name)
    })
}
