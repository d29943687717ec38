//! Which registry a guarded function uses: the innermost test scope's, else the installed one, else
//! one with an in-process memory backend.
//!
//! One number says whether what a site has resolved still holds: the generation, which every
//! change of the global registry raises, in the upper half; how many test scopes there are in the
//! lower half. A resolved site is stamped with the generation alone, so that the two are equal,
//! by one load and one comparison, exactly when it holds and no test is under way.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ratelimit_backends::memory::MemoryBackend;

use super::{InstallError, Registry, Resolved};
use crate::site::Site;

const GENERATION: u64 = 1 << 32;

static STATE: AtomicU64 = AtomicU64::new(GENERATION);
static INSTALLED: OnceLock<Registry> = OnceLock::new();
static IMPLICIT: OnceLock<Registry> = OnceLock::new();

thread_local! {
    static SCOPES: RefCell<Vec<Registry>> = const { RefCell::new(Vec::new()) };
}

/// Whether none is installed yet.
pub(super) fn may_install() -> Result<(), InstallError> {
    match INSTALLED.get() {
        None => Ok(()),
        Some(_) => Err(InstallError::already_installed()),
    }
}

/// Makes the registry the global one.
pub(super) fn install(registry: Registry) -> Result<Registry, InstallError> {
    INSTALLED
        .set(registry.clone())
        .map_err(|_| InstallError::already_installed())?;
    STATE.fetch_add(GENERATION, Ordering::SeqCst);
    Ok(registry)
}

pub(super) fn current() -> Registry {
    innermost_scope().unwrap_or_else(|| global().clone())
}

fn innermost_scope() -> Option<Registry> {
    // A thread that is ending has no scope any more.
    SCOPES
        .try_with(|scopes| scopes.borrow().last().cloned())
        .ok()
        .flatten()
}

fn global() -> &'static Registry {
    INSTALLED.get().unwrap_or_else(|| {
        let mut made = false;
        let registry = IMPLICIT.get_or_init(|| {
            made = true;
            super::Builder::new().implicit(MemoryBackend::new())
        });
        if made {
            // Not before it is there: what writes the log may be limited itself.
            tracing::warn!(
                "no rate limit registry is installed: an in-process memory backend decides"
            );
        }
        registry
    })
}

/// What the site's policy and backend are, here and now.
pub(crate) fn resolve(site: &'static Site) -> Arc<Resolved> {
    let state = STATE.load(Ordering::Acquire);
    let cached = site.resolved.load();
    if let Some(resolved) = &*cached
        && resolved.stamp == state
    {
        return Arc::clone(resolved);
    }
    let generation = state - state % GENERATION;
    if state != generation
        && let Some(registry) = innermost_scope()
    {
        return Arc::new(registry.0.resolve_site(site, 0));
    }
    if let Some(resolved) = &*cached
        && resolved.stamp == generation
    {
        return Arc::clone(resolved);
    }
    let resolved = Arc::new(global().0.resolve_site(site, generation));
    site.resolved.store(Some(Arc::clone(&resolved)));
    resolved
}

/// Counts a test scope, so that sites look for it.
pub(crate) fn scope_begins() {
    STATE.fetch_add(1, Ordering::SeqCst);
}

/// The end of what [`scope_begins`] began.
pub(crate) fn scope_ends() {
    STATE.fetch_sub(1, Ordering::SeqCst);
}

/// Makes the registry this thread's innermost one.
pub(crate) fn push_scope(registry: Registry) {
    SCOPES.with(|scopes| scopes.borrow_mut().push(registry));
}

/// Takes this thread's innermost scope of that registry away.
pub(crate) fn pop_scope(registry: &Registry) {
    let _ = SCOPES.try_with(|scopes| {
        let mut scopes = scopes.borrow_mut();
        if let Some(index) = scopes
            .iter()
            .rposition(|other| Arc::ptr_eq(&other.0, &registry.0))
        {
            scopes.remove(index);
        }
    });
}
