//! What `#[async_trait]` makes of a method before our attributes see it.
//!
//! ```text
//! fn f<'async_trait>(self, __arg1: (u32, u32)) -> Pin<Box<dyn Future<Output = R> + …>> {
//!     Box::pin(async move {
//!         let __self = self;
//!         let (a, b) = { let __arg1 = __arg1; __arg1 };
//!         …
//!     })
//! }
//! ```
//!
//! A key over `a` needs the pattern taken apart before the future is made. That is what happens
//! here: the `let` moves out of the future, which then captures what it binds.

use syn::{Block, Expr, ExprAsync, FnArg, Ident, ItemFn, Local, Pat, Stmt, parse_quote};

/// Takes the `let`s out of the future, as `let PATTERN = parameter;`.
pub(super) fn take(function: &mut ItemFn) -> Vec<Local> {
    let mut taken = Vec::new();
    let parameters: Vec<_> = function.sig.inputs.iter().filter_map(parameter).collect();
    if function.sig.asyncness.is_some() || parameters.is_empty() {
        return taken;
    }
    let Some(future) = future(&mut function.block) else {
        return taken;
    };
    future.block.stmts.retain(|stmt| {
        let Some((local, parameter)) = moved(stmt) else {
            return true;
        };
        if !parameters.contains(&parameter) || borrows(&local.pat) {
            return true;
        }
        let (attrs, pat) = (&local.attrs, &local.pat);
        if let Stmt::Local(local) = parse_quote! { #(#attrs)* let #pat = #parameter; } {
            taken.push(local);
        }
        false
    });
    taken
}

/// The future of `Box::pin(async move { … })`.
fn future(body: &mut Block) -> Option<&mut ExprAsync> {
    match body.stmts.as_mut_slice() {
        [Stmt::Expr(Expr::Call(call), None)] => match call.args.first_mut() {
            Some(Expr::Async(future)) if future.capture.is_some() => Some(future),
            _ => None,
        },
        _ => None,
    }
}

/// A parameter that stands for a pattern.
fn parameter(input: &FnArg) -> Option<Ident> {
    match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(pat) if pat.ident.to_string().starts_with("__arg") => {
                Some(pat.ident.clone())
            }
            _ => None,
        },
        FnArg::Receiver(_) => None,
    }
}

/// `let PATTERN = { let name = name; name };`
fn moved(stmt: &Stmt) -> Option<(&Local, Ident)> {
    let Stmt::Local(local) = stmt else {
        return None;
    };
    let Expr::Block(block) = &*local.init.as_ref()?.expr else {
        return None;
    };
    match block.block.stmts.as_slice() {
        [Stmt::Local(inner), Stmt::Expr(Expr::Path(path), None)] => {
            let name = path.path.get_ident()?;
            let rebinds = matches!(&inner.pat, Pat::Ident(pat) if pat.ident == *name);
            rebinds.then(|| (local, name.clone()))
        }
        _ => None,
    }
}

/// Whether a pattern borrows what it takes apart, so that it must stay where that is.
fn borrows(pattern: &Pat) -> bool {
    struct Finder(bool);
    impl<'ast> syn::visit::Visit<'ast> for Finder {
        fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
            self.0 |= pattern.by_ref.is_some();
            syn::visit::visit_pat_ident(self, pattern);
        }
    }
    let mut finder = Finder(false);
    syn::visit::Visit::visit_pat(&mut finder, pattern);
    finder.0
}
