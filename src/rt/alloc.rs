//! The allocator of the program: mimalloc, because a run is some hundred allocations an operation.
//!
//! It looks at a clock to decide when to give memory back; that is nothing a run could see, so that [`super::interpose`]
//! passes it on to the kernel. A library does not choose for its users: the program and the benches install it.
#![expect(unsafe_code, reason = "an allocator is one by an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use libmimalloc_sys::{mi_option_set, mi_option_t};
use mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the binding leaves out.
const PURGE_DELAY: mi_option_t = 15;

thread_local! {
    static WORKS: Cell<bool> = const { Cell::new(false) };
}

/// For `#[global_allocator]`.
pub struct Allocator;

/// Whether the allocator is at work on this thread.
pub(super) fn works() -> bool {
    WORKS.get()
}

/// Keeps what is freed from here on for what comes next: a run grows and ends, and giving memory back and taking it again
/// costs more than it saves. Without effect where another allocator is installed.
pub(super) fn keep_freed() {
    // SAFETY: sets a number, which mimalloc reads atomically.
    unsafe { mi_option_set(PURGE_DELAY, -1) };
}

fn at_work<T>(work: impl FnOnce() -> T) -> T {
    WORKS.set(true);
    let done = work();
    WORKS.set(false);
    done
}

// SAFETY: each call is mimalloc's, with the arguments that came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        at_work(|| unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        at_work(|| unsafe { MiMalloc.dealloc(block, layout) });
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        at_work(|| unsafe { MiMalloc.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        at_work(|| unsafe { MiMalloc.realloc(block, layout, size) })
    }
}
