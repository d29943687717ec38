//! The atomics of the engine: the standard library's, or those of the model checker.

#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Counts one more try, and waits a moment for another thread: longer the more tries there were, so
/// that of two that want one line again and again, one goes on while it has the line, instead of each
/// taking it from the other.
pub(super) fn pause(tries: &mut u32) {
    *tries = tries.saturating_add(1);
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    if *tries < 12 {
        for _ in 0..16_u32 << (*tries).min(5) {
            core::hint::spin_loop();
        }
    } else {
        // Its holder may wait for this very processor.
        std::thread::yield_now();
    }
}
