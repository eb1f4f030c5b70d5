//! The allocator of the program: mimalloc, because a run is some hundred allocations an operation.
//!
//! It looks at a clock to decide when to give memory back; that is nothing a run could see, so that [`super::interpose`]
//! passes it on to the kernel. A library does not choose for its users: the program and the benches install it.
#![expect(unsafe_code, reason = "an allocator is one by an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use libmimalloc_sys::{self as mi, mi_option_t};

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
    unsafe { mi::mi_option_set(PURGE_DELAY, -1) };
}

fn at_work<T>(work: impl FnOnce() -> T) -> T {
    WORKS.set(true);
    let done = work();
    WORKS.set(false);
    done
}

/// Whether every block is aligned enough: all start at whole words. To ask for no more than that is the shorter way.
const fn of_words(layout: Layout) -> bool {
    layout.align() <= size_of::<usize>()
}

// SAFETY: each call is mimalloc's, with the arguments that came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: asks for nothing but memory.
        at_work(|| unsafe { if of_words(layout) { mi::mi_malloc(size) } else { mi::mi_malloc_aligned(size, align) } })
            .cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: it is a block of this allocator, as the caller promises.
        at_work(|| unsafe { mi::mi_free(block.cast()) });
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: asks for nothing but memory.
        at_work(|| unsafe { if of_words(layout) { mi::mi_zalloc(size) } else { mi::mi_zalloc_aligned(size, align) } })
            .cast()
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (block, align) = (block.cast(), layout.align());
        // SAFETY: it is a block of this allocator, as the caller promises.
        at_work(|| unsafe {
            if of_words(layout) { mi::mi_realloc(block, size) } else { mi::mi_realloc_aligned(block, size, align) }
        })
        .cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_as_asked_and_keep_what_they_hold() {
        for align in [1, 2, 4, 8, 16, 64, 4096] {
            for size in (1..200).chain([4_000, 70_000, 3 << 20]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                let larger = Layout::from_size_align(size * 3, align).unwrap();
                // SAFETY: within the blocks, and each is freed once with the layout that it has.
                unsafe {
                    let block = Allocator.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                    block.write_bytes(7, size);
                    let moved = Allocator.realloc(block, layout, larger.size());
                    assert!(!moved.is_null() && moved.addr().is_multiple_of(align), "{larger:?}");
                    assert!(std::slice::from_raw_parts(moved, size).iter().all(|byte| *byte == 7));
                    Allocator.dealloc(moved, larger);
                    let zeroed = Allocator.alloc_zeroed(layout);
                    assert!(!zeroed.is_null() && zeroed.addr().is_multiple_of(align), "{layout:?}");
                    assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|byte| *byte == 0));
                    Allocator.dealloc(zeroed, layout);
                }
            }
        }
    }
}
