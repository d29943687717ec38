//! A global allocator that can count. It passes everything on to the system's, and counts only
//! where it was asked to, so that it costs the contenders that allocate next to nothing.

// A global allocator cannot be written without it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

#[inline]
fn count(allocated: usize, freed: usize) {
    if ON.load(Ordering::Relaxed) {
        CALLS.fetch_add(u64::from(allocated > 0), Ordering::Relaxed);
        ALLOCATED.fetch_add(allocated as u64, Ordering::Relaxed);
        FREED.fetch_add(freed as u64, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What was asked of the allocator.
#[derive(Clone, Copy, Debug)]
pub struct Allocations {
    /// How often memory was asked for.
    pub calls: u64,
    /// The bytes that were asked for and not given back.
    pub kept: i64,
}

/// Counts what the work asks of the allocator, on any thread.
pub fn counted(work: impl FnOnce()) -> Allocations {
    let read = || {
        let kept = ALLOCATED
            .load(Ordering::SeqCst)
            .wrapping_sub(FREED.load(Ordering::SeqCst));
        (CALLS.load(Ordering::SeqCst), kept.cast_signed())
    };
    let (calls, kept) = read();
    ON.store(true, Ordering::SeqCst);
    work();
    ON.store(false, Ordering::SeqCst);
    let (calls_after, kept_after) = read();
    Allocations {
        calls: calls_after - calls,
        kept: kept_after - kept,
    }
}
