//! The names that patterns bind.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Ident, Pat, PatIdent};

/// The names that these patterns bind, in the order in which they are written.
pub(super) fn bound<'a>(patterns: impl Iterator<Item = &'a Pat>) -> Vec<Ident> {
    struct Names(Vec<Ident>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
            self.0.push(pattern.ident.clone());
            visit::visit_pat_ident(self, pattern);
        }
    }
    let mut names = Names(Vec::new());
    patterns.for_each(|pattern| names.visit_pat(pattern));
    names.0
}

/// The name that somebody wrote elsewhere: what it means is decided where it was bound, errors are
/// shown where it was written.
pub(super) fn find(names: &[Ident], text: &str, written: Span) -> Option<Ident> {
    let found = names.iter().find(|name| name.unraw() == text)?;
    let mut name = found.clone();
    name.set_span(written.resolved_at(name.span()));
    Some(name)
}

/// The names as people write them.
pub(super) fn texts(names: &[Ident]) -> Vec<String> {
    names.iter().map(|name| name.unraw().to_string()).collect()
}
